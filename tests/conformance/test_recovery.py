"""What every driver does when its server is killed: the next one goes on, or nothing is left."""

import secrets
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from lm_sandbox.sandboxes.driver import Adopted, RunState, SandboxDriver
from lm_sandbox.sandboxes.inside.scroll_back import Recording
from lm_sandbox.sandboxes.limits import MIB, Limit
from lm_sandbox.sandboxes.process import Exit, OutputStream, Process
from lm_sandbox.sandboxes.terminal import TerminalSize
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import DRIVERS, ENTERED, devices_of, runner
from tests.conformance.left_behind import BOX, SHOWN, VOLUME, Marks
from tests.conftest import eventually
from tests.drivers import RUNTIMES, driver_of
from tests.processes import pids_with

pytestmark = pytest.mark.anyio
RECOVERY_S = 60.0


class Killed:
    """Servers of one driver over one folder, of which all but the last are killed."""

    def __init__(self, name: str, folder: Path, engine: Path | None) -> None:
        self._name, self._folder, self._engine = name, folder, engine
        self.marks = Marks(secrets.randbelow(10**9) + 10**9)

    def leave(self, scene: str, recovery_s: float = RECOVERY_S) -> None:
        """Plays a scene in a process that is killed at its end."""
        arguments = [self._name, str(self._folder), str(self._engine or ""), str(recovery_s), scene]
        arguments += [str(self.marks.first)]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.left_behind", *arguments], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.kill()

    def is_gone(self) -> bool:
        return not any(map(sleeping, (self.marks.left, self.marks.tree, self.marks.waiting)))

    def follow(self) -> SandboxDriver:
        return driver_of(self._name, self._folder, self._engine, RECOVERY_S)


@pytest.fixture(params=DRIVERS)
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Killed:
    return of_driver(request.param, request, tmp_path)


@pytest.fixture(params=ENTERED)
def killed_and_entered(request: pytest.FixtureRequest, tmp_path: Path) -> Killed:
    return of_driver(request.param, request, tmp_path)


def of_driver(name: str, request: pytest.FixtureRequest, folder: Path) -> Killed:
    engine = None if name == "bubblewrap" else request.getfixturevalue(RUNTIMES[name][1])
    return Killed(name, folder, engine)


async def all_of(stream: OutputStream) -> bytes:
    data = b""
    async for piece in stream:
        data += piece
    return data


async def end_of(process: Process) -> tuple[Exit, bytes, bytes]:
    told: list[bytes] = [b"", b""]

    async def take(place: int, stream: OutputStream) -> None:
        told[place] = await all_of(stream)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, 0, process.stdout)
        tasks.start_soon(take, 1, process.stderr)
        exited = await process.wait()
    await process.aclose()
    return exited, told[0], told[1]


async def only(driver: SandboxDriver) -> Adopted:
    [left] = await driver.adopt()
    assert left.sandbox == BOX
    return left


def sleeping(seconds: int) -> list[int]:
    return pids_with(f"sleep\0{seconds}")


async def test_commands_with_names_go_on_and_lose_nothing(killed: Killed) -> None:
    killed.leave("commands")
    async with killed.follow() as driver:
        left = await only(driver)
        assert left.enforced.seccomp
        exited, out, error = await end_of(left.processes["counter"])
        assert exited.code == 5
        assert out.split() == [b"%d" % number for number in range(1, 201)]
        assert error.split() == [b"e%d" % number for number in range(1, 201)]
        reader = left.processes["reader"]
        assert reader.stdin is not None
        await reader.stdin.send(b"one\n")
        await reader.stdin.aclose()
        assert (await end_of(reader))[:2] == (Exit(0, None), b"got one\nover\n")
        tree = left.processes["tree"]
        await tree.signal(15)
        assert (await end_of(tree))[0].code == 7
    await eventually(lambda: not sleeping(killed.marks.tree))


async def test_what_has_no_name_ends_and_what_ended_commands_left_goes_on(killed: Killed) -> None:
    killed.leave("commands")
    assert sleeping(killed.marks.waiting)
    async with killed.follow() as driver:
        left = await only(driver)
        assert set(left.processes) == {"counter", "reader", "tree"}
        assert not sleeping(killed.marks.waiting)
        assert len(sleeping(killed.marks.left)) == 1
        await left.processes["tree"].kill()
        assert (await end_of(left.processes["tree"]))[0].signal == 9
        assert not sleeping(killed.marks.tree)
    assert not sleeping(killed.marks.left)


async def test_files_variables_and_limits_are_as_they_were(killed: Killed) -> None:
    killed.leave("commands")
    async with killed.follow() as driver:
        await only(driver)
        run = runner(driver, BOX)
        assert (await run("cat file; echo $HELLO; id -u")).stdout == b"kept\nyou\n1000\n"
        assert Limit.MEMORY in (await run("x=$(head -c 300000000 /dev/zero | tr '\\0' x)")).limits
        assert (await run("ulimit -n")).stdout == b"128\n"


async def test_one_killed_server_follows_the_other(killed: Killed) -> None:
    killed.leave("commands")
    async with killed.follow() as driver:
        await only(driver)
        # What the first has adopted, a second one that is started beside it does not get.
        async with killed.follow() as beside:
            assert await beside.adopt() == []
        assert (await runner(driver, BOX)("cat file")).stdout == b"kept\n"


async def test_what_was_paused_stays_paused(killed: Killed) -> None:
    killed.leave("paused")
    async with killed.follow() as driver:
        left = await only(driver)
        counter = left.processes["counter"].stdout
        with anyio.move_on_after(0.5):
            while True:
                await counter.receive()
        with anyio.move_on_after(0.2) as silent:
            await counter.receive()
        assert silent.cancelled_caught
        await driver.set_state(BOX, RunState.RUNNING)
        assert await counter.receive()
        await left.processes["counter"].kill()
        await left.processes["counter"].aclose()


async def test_volumes_are_there_as_before(killed_and_entered: Killed, tmp_path: Path) -> None:
    make_disk(disk := tmp_path / VOLUME, 16 * MIB)
    killed_and_entered.leave("mounted")
    async with killed_and_entered.follow() as driver:
        await only(driver)
        run = runner(driver, BOX)
        assert (await run("cat /data/a; echo more > /data/a; cat /data/a")).stdout == b"kept\nmore\n"
        assert len(devices_of(disk)) == 1
        await driver.destroy(BOX)
        await eventually(lambda: devices_of(disk) == [])


async def test_without_another_server_no_volume_stays_mounted(
    killed_and_entered: Killed, tmp_path: Path
) -> None:
    make_disk(disk := tmp_path / VOLUME, 16 * MIB)
    killed_and_entered.leave("mounted", recovery_s=0.5)
    await eventually(lambda: devices_of(disk) == [])


async def test_without_another_server_everything_ends(killed: Killed) -> None:
    killed.leave("commands", recovery_s=0.5)
    await eventually(killed.is_gone)
    async with killed.follow() as driver:
        assert await driver.adopt() == []


async def test_without_recovery_everything_ends_at_once(killed: Killed) -> None:
    killed.leave("commands", recovery_s=0)
    await eventually(killed.is_gone)
    async with killed.follow() as driver:
        assert await driver.adopt() == []


async def test_a_terminal_goes_on_and_what_it_showed_meanwhile_is_there_or_told(
    killed_and_entered: Killed,
) -> None:
    killed_and_entered.leave("terminal")
    # Its program never waits for a server, whatever it writes.
    await eventually(lambda: bool(sleeping(killed_and_entered.marks.flooded)))
    async with killed_and_entered.follow() as driver:
        left = await only(driver)
        recording = Recording.load(left.files[SHOWN])
        recording.come_back()
        terminal = left.terminals[SHOWN]
        while b"last word" not in recording.replay():
            recording.write(await terminal.output.receive())
        assert b"199999" in recording.replay()
        assert recording.missed > 1_000_000
        assert b"%d bytes left out" % recording.missed in recording.replay()
        assert len(recording.replay()) < 70_000
        await terminal.resize(TerminalSize(50, 100))
        await terminal.kill()
        assert (await terminal.wait()).signal == 9
        await terminal.aclose()
        recording.close()
    assert not sleeping(killed_and_entered.marks.flooded)
