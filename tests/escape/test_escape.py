"""Runs every attempt from inside and finds each in vain, with the sandbox well afterwards."""

import os
import platform
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from tests.conformance.conftest import BOX, SMALL, Run, runner
from tests.drivers import build
from tests.escape.attempts import ATTEMPTS, THROUGH, Attempt

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86-64's"),
]

# What an attempt gets at in a sandbox of this driver is no secret of the host.
NOT_APPLICABLE = {
    ("docker", "read /var/lib/dpkg/status"): "it is the image's own, which its user may read",
}


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("CANARY", "the-server-knows-a-secret")
    file = tmp_path / "secret"
    file.write_text("the-server-has-a-file")
    return file


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["bubblewrap", "docker"])
def new_driver(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxDriver:
    return build(request.param, request, tmp_path)


@pytest.fixture
async def run(new_driver: SandboxDriver) -> AsyncIterator[Run]:
    async with new_driver as driver:
        await driver.create(BOX, SMALL)
        yield runner(driver, BOX)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: f"{attempt.group}: {attempt.name}")
async def test_nothing_gets_through(
    attempt: Attempt, run: Run, canary: Path, listener: int, request: pytest.FixtureRequest
) -> None:
    driver = request.node.callspec.params["new_driver"]
    if (driver, attempt.name) in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE[driver, attempt.name])
    env = {"SERVER_FILE": str(canary), "PORT": str(listener)}
    result = await run(attempt.script, env=env, timeout_s=20)
    assert THROUGH not in result.stdout.decode(errors="replace"), result
    assert (await run("echo well")).stdout == b"well\n"
    assert os.environ["CANARY"]


async def test_the_attempts_can_succeed_where_nothing_stops_them(run: Run) -> None:
    result = await run(f"cat /etc/passwd | grep -q . && echo {THROUGH}; (echo x > /tmp/y) && echo {THROUGH}")
    assert result.stdout.decode().split() == [THROUGH, THROUGH]


def test_there_are_enough_attempts_and_none_twice() -> None:
    names = [(attempt.group, attempt.name) for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 120
    assert {name for _, name in NOT_APPLICABLE} <= {name for _, name in names}


async def test_every_way_in_carries_the_same_confinement(run: Run) -> None:
    fields = "grep -hE '^(Cap...|NoNewPrivs|Seccomp):' "
    init = (await run(f"{fields} /proc/1/status")).stdout
    keeper = (await run(f"for p in /proc/[0-9]*; do {fields} $p/status 2>/dev/null; done | sort -u")).stdout
    command = (await run(f"{fields} /proc/self/status")).stdout
    assert b"NoNewPrivs:\t1" in init
    assert b"Seccomp:\t2" in init
    assert init == command
    assert sorted(set(init.splitlines())) == sorted(set(keeper.splitlines()))
