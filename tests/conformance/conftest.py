"""Each driver, started once a test; a new driver is one more row."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lm_sandbox.sandboxes.commands import CommandRequest, CommandResult, Sink, run_command
from lm_sandbox.sandboxes.driver import MIB, Limits, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.files import SandboxFiles

Run = Callable[..., Awaitable[CommandResult]]
DRIVERS: dict[str, Callable[[], SandboxDriver]] = {"bubblewrap": BubblewrapDriver}
SMALL = SandboxSpec(limits=Limits(memory_bytes=192 * MIB, disk_bytes=32 * MIB, pids=64, open_files=128))
BOX = SandboxId("sb_conformance")


@pytest.fixture(params=DRIVERS)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[SandboxDriver]:
    async with DRIVERS[request.param]() as started:
        yield started


@pytest.fixture
async def run(driver: SandboxDriver) -> Run:
    """Makes a small sandbox and returns what runs commands in it."""
    await driver.create(BOX, SMALL)
    return runner(driver, BOX)


@pytest.fixture
async def files(driver: SandboxDriver, run: Run) -> SandboxFiles:
    """The files of the sandbox in which `run` runs."""
    assert (await run("true")).exit_code == 0
    return driver.files(BOX)


def runner(driver: SandboxDriver, sandbox: SandboxId) -> Run:
    async def run_one(
        command: str | tuple[str, ...],
        *,
        timeout_s: float = 30,
        stdin: bytes | None = None,
        sink: Sink | None = None,
        output_limit: int = 64 * MIB,
        **more: object,
    ) -> CommandResult:
        argv = ("/bin/bash", "-c", command) if isinstance(command, str) else command
        wanted = CommandRequest(argv, timeout_s, 100_000, output_limit, stdin=stdin, **more)  # type: ignore[arg-type]
        return await run_command("cmd", await driver.spawn(sandbox, wanted.spec()), wanted, sink)

    return run_one
