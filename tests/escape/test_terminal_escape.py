"""What hostile code tries from a terminal, whose master the server holds."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.terminal import TerminalSize
from lm_sandbox.sandboxes.verification.attempts import PYTHON
from tests.conformance.conftest import Run
from tests.conformance.test_terminals import Sit, sitting

pytestmark = pytest.mark.anyio

PRELUDE = """
import ctypes, fcntl, os, struct, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
def attempt(number, argument=b"x"):
    try:
        fcntl.ioctl(0, number, argument)
    except OSError:
        return
    print("THROUGH")
"""
ATTEMPTS = {
    "push input": "attempt(termios.TIOCSTI)",
    "push input with high bits": "print('THROUGH' if libc.ioctl(0, ctypes.c_ulong(0x100005412), b'x') == 0 else '')",
    "push input by the controlling terminal": "os.dup2(os.open('/dev/tty', os.O_RDWR), 0); attempt(termios.TIOCSTI)",
    "paste by the console": "attempt(0x541C, b'\\x02')",
    "take over the console": "attempt(termios.TIOCCONS, 0)",
    "hang it up for all": "attempt(0x5437, 0)",
    "change its line discipline": "attempt(termios.TIOCSETD, struct.pack('i', 0))",
    "steal it as a controlling terminal": "os.setsid() if os.fork() == 0 else os._exit(os.wait()[1]); attempt(termios.TIOCSCTTY, 1)",
    "packets from the side of the program": "attempt(termios.TIOCPKT, struct.pack('i', 1))",
    "the other side by its number": "attempt(0x5441, os.O_RDWR)",
    "more descriptors than three": "if sorted(os.listdir('/proc/self/fd')) != ['0', '1', '2', '3']: print('THROUGH')",
    "other terminals of the host": "if len(os.listdir('/dev/pts')) > 2: print('THROUGH')",
    "a terminal of the host by its path": "[print('THROUGH') for n in range(50) if f'/dev/pts/{n}' != os.ttyname(0) and os.path.exists(f'/dev/pts/{n}')]",
    "a descriptor of the server": "[print('THROUGH') for fd in range(3, 500) if fd != 3 and os.path.exists(f'/proc/self/fd/{fd}')]",
    "a new device": "os.mknod('/dev/pts/9', 0o20666, os.makedev(136, 0)); print('THROUGH')",
    "another ptmx": "os.rename('/dev/ptmx', '/dev/ptmx2'); print('THROUGH')",
    "its own ptmx": "os.symlink('/workspace/x', '/dev/pts/ptmx2'); print('THROUGH')",
}  # fmt: skip


@pytest.fixture
async def sit(started: SandboxDriver) -> AsyncIterator[Sit]:
    async with sitting(started) as opens:
        yield opens


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_nothing_gets_through(attempt: str, sit: Sit) -> None:
    person = await sit(PYTHON, "-c", PRELUDE + ATTEMPTS[attempt])
    await person.see_the_end()
    assert b"THROUGH" not in person.seen, person.seen
    after = await sit("echo", "well")
    await after.see_the_end()
    assert after.seen == b"well\r\n"


async def test_an_attempt_that_nothing_stops_is_told(sit: Sit) -> None:
    person = await sit(PYTHON, "-c", PRELUDE + "attempt(termios.TIOCGPGRP, bytes(4))")
    await person.see_the_end()
    assert b"THROUGH" in person.seen


async def test_a_terminal_carries_the_confinement_of_a_command(sit: Sit, run_inside: Run) -> None:
    fields = "grep -E '^(Cap...|NoNewPrivs|Seccomp|Uid|Gid|Groups):' /proc/self/status; cat /proc/self/oom_score_adj; ulimit -a"
    command = (await run_inside(fields)).stdout
    person = await sit("bash", "-c", fields)
    await person.see_the_end()
    assert b"NoNewPrivs:\t1" in person.seen
    assert b"Seccomp:\t2" in person.seen
    assert person.seen.replace(b"\r\n", b"\n") == command


async def test_a_terminal_is_in_the_groups_of_its_sandbox(sit: Sit, run_inside: Run) -> None:
    namespaces = "cat /proc/self/cgroup; readlink /proc/self/ns/*"
    person = await sit("bash", "-c", namespaces)
    await person.see_the_end()
    assert person.seen.replace(b"\r\n", b"\n") == (await run_inside(namespaces)).stdout


async def test_what_a_program_does_to_its_terminal_does_not_stop_the_server(sit: Sit) -> None:
    script = "stty raw -echo 2>/dev/null; stty stop x; head -c 2000000 /dev/urandom; printf '\\033[21t\\033[6n'; stty sane; echo on"
    person = await sit("bash", "-c", script)
    await person.see_the_end()
    assert person.seen.endswith(b"on\r\n")
    # Whatever it asked for, nobody has answered: what it would read is what was typed alone.
    person = await sit(
        "bash", "-c", "stty raw -echo; printf '\\033[6n\\033[c'; read -rn1 -t 0.3 x; echo \"got <$x>\""
    )
    await person.see_the_end()
    assert b"got <>" in person.seen


async def test_input_that_nobody_reads_holds_up_nobody(sit: Sit) -> None:
    person = await sit("bash", "-c", "stty raw -echo; echo on; sleep 1000")
    await person.see("on")
    with anyio.move_on_after(0.5) as stuck:
        await person.terminal.input.send(b"x" * 10_000_000)
    assert stuck.cancelled_caught
    other = await sit("echo", "well")
    await other.see_the_end()
    assert other.seen == b"well\r\n"
    await person.terminal.kill()
    assert (await person.see_the_end()).signal == 9


async def test_a_fork_bomb_in_a_terminal_is_ended_with_it(sit: Sit, run_inside: Run) -> None:
    person = await sit("bash", "-c", "bomb() { bomb | bomb & }; echo on; bomb; sleep 1000")
    await person.see("on")
    await person.terminal.kill()
    await person.see_the_end()
    assert (await run_inside("echo alive")).stdout == b"alive\n"


async def test_the_server_gets_no_terminal_of_its_own(sit: Sit) -> None:
    """What opens a terminal without care gets it as its controlling one, and its ctrl-C with it."""
    before = Path("/proc/self/stat").read_text().split()[6]
    person = await sit("bash", "-c", "kill -INT 0; tty")
    await person.terminal.resize(TerminalSize(5, 5))
    await person.see_the_end()
    assert Path("/proc/self/stat").read_text().split()[6] == before
