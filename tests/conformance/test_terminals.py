"""What a terminal of every driver does, whatever is underneath."""

import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import SandboxFailed, SandboxNotFound
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.process import Exit, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec
from tests.conformance.conftest import BOX, SMALL, Run
from tests.conftest import eventually

pytestmark = pytest.mark.anyio

LIMIT_S = 20
SIZE = TerminalSize(50, 132)
# A key that comes before that is the shell's.
IN_FOREGROUND = "until p=$(pgrep sleep) && [ $(ps -o tpgid= -p $p) = $p ]; do :; done"
BASH = ("/bin/bash", "--norc", "--noprofile")


class Person:
    """Types and reads."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.seen = b""

    async def type(self, text: str) -> None:
        await self.terminal.input.send(text.encode())

    async def see(self, pattern: str) -> re.Match[bytes]:
        """Reads until it is on the screen; what was read is not looked at again."""
        with anyio.move_on_after(LIMIT_S):
            while re.search(pattern.encode(), self.seen) is None:
                self.seen += await self.terminal.output.receive()
        found = re.search(pattern.encode(), self.seen)
        assert found, self.seen
        self.seen = self.seen[found.end() :]
        return found

    async def see_the_end(self) -> Exit:
        with anyio.fail_after(LIMIT_S):
            async for piece in self.terminal.output:
                self.seen += piece
            return await self.terminal.wait()


Sit = Callable[..., Awaitable[Person]]


@asynccontextmanager
async def sitting(driver: SandboxDriver) -> AsyncIterator[Sit]:
    """Yields what opens terminals in the sandbox."""
    people: list[Person] = []

    async def sit(*argv: str, env: dict[str, str] | None = None, cwd: str = "/workspace") -> Person:
        prompt = {"PS1": "> ", **(env or {})}
        spec = TerminalSpec(argv or BASH, env=prompt, size=SIZE, cwd=cwd)
        people.append(Person(await driver.open_terminal(BOX, spec)))
        return people[-1]

    try:
        yield sit
    finally:
        for person in people:
            await person.terminal.kill()
            await person.terminal.aclose()


@pytest.fixture
async def sit(driver: SandboxDriver, run: Run) -> AsyncIterator[Sit]:
    assert (await run("true")).exit_code == 0
    async with sitting(driver) as opens:
        yield opens


async def test_a_program_has_a_terminal_of_its_own_and_nothing_else(sit: Sit) -> None:
    person = await sit(
        "/bin/bash", "-c", "tty; stty size; echo $TERM; echo $PWD; ls /proc/self/fd; tty </dev/tty"
    )
    assert await person.see_the_end() == Exit(0, None)
    lines = person.seen.decode().split()
    # The last descriptor is the listing's own.
    assert lines[1:9] == ["50", "132", "xterm-256color", "/workspace", "0", "1", "2", "3"]
    assert lines[0].startswith("/dev/pts/") or lines[0] == "/dev/console"
    assert lines[9].startswith("/dev/")


async def test_what_was_asked_for_is_there(sit: Sit) -> None:
    script = "echo $GREETING $TERM; pwd; exit 7"
    person = await sit("bash", "-c", script, env={"GREETING": "hé", "TERM": "vt100"}, cwd="/tmp")
    assert await person.see_the_end() == Exit(7, None)
    assert person.seen.decode().split() == ["hé", "vt100", "/tmp"]


async def test_a_program_that_is_not_there_is_127_and_told(sit: Sit) -> None:
    person = await sit("no-such-program")
    assert (await person.see_the_end()).code == 127
    assert b"no-such-program" in person.seen


async def test_the_size_changes_and_the_program_is_told(sit: Sit) -> None:
    person = await sit()
    await person.see("> ")
    await person.type("trap 'echo changed to $(stty size)' WINCH; echo rea''dy\n")
    await person.see("ready")
    # On its way from one line to the next bash keeps a trap until after the next one.
    await person.see("> ")
    await person.terminal.resize(TerminalSize(30, 90))
    assert await person.see("changed to 30 90")
    await person.type("stty size\n")
    assert await person.see("30 90")


async def test_ctrl_c_interrupts_and_the_shell_goes_on(sit: Sit, run: Run) -> None:
    person = await sit()
    await person.type("echo on; sleep 1000\n")
    await person.see(r"[\r\n]on\r\n")
    await run(IN_FOREGROUND)
    await person.type("\x03")
    await person.see(r"\^C")
    await person.type("echo status $?\n")
    assert (await person.see(r"[\r\n]status (\d+)\r"))[1] == b"130"


async def test_jobs_are_halted_and_go_on_in_background_and_foreground(sit: Sit, run: Run) -> None:
    person = await sit()
    await person.type("echo on; sleep 1000\n")
    await person.see(r"[\r\n]on\r\n")
    await run(IN_FOREGROUND)
    await person.type("\x1a")
    await person.see("Stopped +sleep 1000")
    await person.type("bg\n")
    await person.see(r"\[1\]\+ sleep 1000 &")
    await person.type("jobs\n")
    await person.see(r"\[1\]\+  Running +sleep 1000 &")
    await person.type("fg\n")
    await person.see(r"[\r\n]sleep 1000\r\n")
    await run(IN_FOREGROUND)
    await person.type("\x03")
    await person.see(r"\^C")
    await person.type("echo was $?\n")
    assert (await person.see(r"was (\d+)\r"))[1] == b"130"


async def test_a_signal_goes_to_what_is_in_the_foreground(sit: Sit, run: Run) -> None:
    person = await sit()
    await person.type("echo on; sleep 1000; echo was $?\n")
    await person.see(r"[\r\n]on\r\n")
    await run(IN_FOREGROUND)
    await person.terminal.signal(signal.SIGTERM)
    await person.see(r"was 143\r")
    await person.type("exit 4\n")
    assert (await person.see_the_end()).code == 4


async def test_the_end_of_input_ends_the_shell(sit: Sit) -> None:
    person = await sit()
    await person.see("> ")
    await person.type("\x04")
    assert await person.see_the_end() == Exit(0, None)


async def test_it_is_over_when_its_program_ends_though_a_child_has_it_open(sit: Sit, run: Run) -> None:
    script = (
        "(trap '' HUP; while :; do echo still here; sleep 0.1; done) & sleep 0.3; echo last words; exit 5"
    )
    person = await sit("bash", "-c", script)
    assert (await person.see_the_end()).code == 5
    assert b"last words" in person.seen
    await person.terminal.kill()
    assert (await run("pgrep -c sleep")).stdout == b"0\n"


async def test_all_that_was_written_before_the_end_is_read(sit: Sit) -> None:
    person = await sit("bash", "-c", "seq 20000; echo the end")
    await person.see_the_end()
    lines = person.seen.decode().split("\r\n")
    assert lines == [*map(str, range(1, 20001)), "the end", ""]


async def test_a_program_may_close_its_terminal_and_open_it_again(sit: Sit) -> None:
    script = "exec 0<&- 1>&- 2>&-; sleep 0.2; exec </dev/tty >/dev/tty 2>&1; read line; echo got $line"
    person = await sit("bash", "-c", script)
    await person.type("it\n")
    assert (await person.see_the_end()).code == 0
    assert b"got it" in person.seen


@pytest.mark.parametrize(
    "stubborn",
    [
        "trap '' TERM INT HUP; echo on; while :; do sleep 987; done",
        "setsid sleep 987 >/dev/null 2>&1 & echo on; wait",
        "(setsid nohup sleep 987 >/dev/null 2>&1 &); echo on; sleep 987",
        "setsid bash -c 'setsid sleep 987 & sleep 987' & echo on; cat",
    ],
)
async def test_killing_ends_all_that_was_started(sit: Sit, run: Run, stubborn: str) -> None:
    person = await sit("bash", "-c", stubborn)
    await person.see(r"on\r")
    await run("until pgrep sleep; do :; done")
    await person.terminal.kill()
    assert (await person.see_the_end()).signal == signal.SIGKILL
    assert (await run("pgrep -c sleep")).stdout == b"0\n"


async def test_closing_hangs_the_program_up(sit: Sit, run: Run) -> None:
    person = await sit(
        "bash", "-c", "trap 'echo hung up > /workspace/told; exit' HUP; echo on; sleep 986 & wait"
    )
    await person.see(r"on\r")
    await person.terminal.aclose()
    assert (await person.terminal.wait()).code == 0
    assert (await run("cat /workspace/told")).stdout == b"hung up\n"


async def test_several_are_open_at_once_without_mixing(sit: Sit) -> None:
    people = [await sit() for _ in range(5)]
    for number, person in enumerate(people):
        await person.type(f"echo I am $(({number} + 100)) on $(tty)\n")
    seen = [await person.see(r"I am (\d+) on (\S+)") for person in people]
    assert [found[1] for found in seen] == [b"%d" % (number + 100) for number in range(5)]
    assert len({found[2] for found in seen}) == 5


async def test_many_leave_no_descriptor_and_no_process(driver: SandboxDriver, run: Run) -> None:
    async with sitting(driver) as one:
        await (await one("true")).see_the_end()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(40):
        async with sitting(driver) as again:
            assert (await (await again("true")).see_the_end()).code == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert (await run("ls /dev/pts | grep -c '^[0-9]'")).stdout == b"0\n"
    assert int((await run("ls /proc | grep -c '^[0-9]'")).stdout) <= 8


async def test_opening_one_that_is_given_up_leaves_nothing(driver: SandboxDriver, run: Run) -> None:
    async with sitting(driver) as one:
        await (await one("true")).see_the_end()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        with anyio.move_on_after(0.0002 * number) as given_up:
            opened = await driver.open_terminal(BOX, TerminalSpec(("sleep", "984")))
        if not given_up.cancelled_caught:
            await opened.kill()
            await opened.aclose()
    assert (await run("until ! pgrep sleep; do :; done; pgrep -c sleep")).stdout == b"0\n"
    await eventually(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


async def test_stopping_the_sandbox_ends_it(sit: Sit, driver: SandboxDriver) -> None:
    person = await sit("bash", "-c", "trap '' TERM HUP; echo on; sleep 985")
    await person.see(r"on\r")
    await driver.set_state(BOX, RunState.STOPPED)
    assert (await person.see_the_end()).signal == signal.SIGKILL


async def test_it_stands_still_while_its_sandbox_is_paused(sit: Sit, driver: SandboxDriver) -> None:
    person = await sit()
    await person.see("> ")
    await driver.set_state(BOX, RunState.PAUSED)
    await person.type("echo la''ter\n")
    with anyio.move_on_after(0.3) as still:
        await person.see("later")
    assert still.cancelled_caught
    await driver.set_state(BOX, RunState.RUNNING)
    await person.see("later")


async def test_a_sandbox_that_is_destroyed_takes_it_along(sit: Sit, driver: SandboxDriver) -> None:
    person = await sit()
    await person.see("> ")
    await driver.destroy(BOX)
    with pytest.raises(SandboxFailed):
        await person.see_the_end()
    with pytest.raises(SandboxNotFound):
        await sit()


async def test_an_unknown_sandbox_has_none(driver: SandboxDriver) -> None:
    with pytest.raises(SandboxNotFound):
        await driver.open_terminal(SandboxId("sb_none"), TerminalSpec())


async def test_the_sandboxes_own_variables_are_there(driver: SandboxDriver) -> None:
    await driver.create(BOX, replace(SMALL, env={"OWN": "yes"}))
    terminal = await driver.open_terminal(BOX, TerminalSpec(("bash", "-c", "echo $OWN $HOME")))
    person = Person(terminal)
    await person.see_the_end()
    await terminal.aclose()
    assert person.seen == b"yes /home/sandbox\r\n"


@pytest.mark.parametrize(
    ("program", "drawn", "quit_with"),
    [
        ("vim -u NONE -i NONE /workspace/new", r"\x1b\[\?1049h[\s\S]*~", ":q!\r"),
        ("top", r"load average", "q"),
    ],
)
async def test_programs_that_draw_on_the_whole_screen_work(
    sit: Sit, program: str, drawn: str, quit_with: str
) -> None:
    person = await sit()
    await person.type(f"{program}; echo left with $?\n")
    await person.see(drawn)
    await person.type(quit_with)
    assert (await person.see(r"left with (\d+)\r"))[1] == b"0"


async def test_vim_writes_what_was_typed(sit: Sit, run: Run) -> None:
    person = await sit("vim", "-u", "NONE", "-i", "NONE", "/workspace/poem")
    await person.see("~")
    await person.type("ia line\nanother\x1b:wq\r")
    assert (await person.see_the_end()).code == 0
    assert (await run("cat /workspace/poem")).stdout == b"a line\nanother\n"
