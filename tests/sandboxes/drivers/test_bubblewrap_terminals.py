"""What the bubblewrap driver does when there is nothing left to open a terminal with."""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from lm_sandbox.errors import NoCapacity
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.process import Exit, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSpec
from tests.conftest import eventually

pytestmark = pytest.mark.anyio

BOX = SandboxId("sb_terminals")
# The fewest descriptors that a sandbox may be given.
LIMITS = Limits(memory_bytes=256 * MIB, disk_bytes=16 * MIB, pids=64, open_files=16)
IDLE = TerminalSpec(("sleep", "982"))


@pytest.fixture
async def driver() -> AsyncIterator[BubblewrapDriver]:
    async with BubblewrapDriver() as started:
        await started.create(BOX, SandboxSpec(limits=LIMITS))
        yield started


async def leave(terminal: Terminal) -> Exit:
    await terminal.kill()
    exited = await terminal.wait()
    await terminal.aclose()
    return exited


async def fill(driver: BubblewrapDriver, opened: AsyncExitStack) -> None:
    """Opens more, until no more can be."""
    while True:
        opened.push_async_callback(leave, await driver.open_terminal(BOX, IDLE))


async def test_terminals_cost_the_sandbox_no_descriptors_of_its_own(driver: BubblewrapDriver) -> None:
    opened = [await driver.open_terminal(BOX, IDLE) for _ in range(30)]
    for terminal in opened:
        assert (await leave(terminal)).signal == 9


async def test_a_server_without_descriptors_refuses_and_goes_on(driver: BubblewrapDriver) -> None:
    await leave(await driver.open_terminal(BOX, IDLE))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    async with AsyncExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(5):
            opened.push_async_callback(leave, await driver.open_terminal(BOX, IDLE))
        for _ in range(5):
            with pytest.raises(NoCapacity, match="descriptor"):
                await fill(driver, opened)
        # Ending what is left takes descriptors, of which there may be none.
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await leave(await driver.open_terminal(BOX, IDLE))
    await eventually(lambda: len(os.listdir("/proc/self/fd")) == before)  # noqa: PTH208
