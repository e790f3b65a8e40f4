"""`lm-sandbox sandbox terminal`, as a person at a terminal uses it."""

import os
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.cli.test_command_line import call
from tests.conftest import Server, lm_sandbox

LIMIT_S = 30


class Session:
    """The command line on a terminal of this test's own."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self.master, slave = os.openpty()
        self.before = termios.tcgetattr(slave)
        termios.tcsetwinsize(slave, (40, 100))
        self.slave = slave
        self.process = subprocess.Popen(
            [lm_sandbox(), "sandbox", "terminal", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
        )
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def see(self, pattern: str) -> re.Match[bytes]:
        deadline = time.monotonic() + LIMIT_S
        while (found := re.search(pattern.encode(), self.seen)) is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)
        assert found, self.seen
        self.seen = self.seen[found.end() :]
        return found

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.master, (rows, columns))
        # The kernel tells only those whose controlling terminal it is.
        self.process.send_signal(signal.SIGWINCH)

    def status(self) -> int:
        return self.process.wait(LIMIT_S)

    def is_as_it_was(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def box(server: Server, command_env: dict[str, str]) -> str:
    assert server.pid
    return call(command_env, "sandbox", "create", "--name", "mine").stdout.strip()


@pytest.fixture
def session(box: str, command_env: dict[str, str]) -> Iterator[Session]:
    assert box
    opened = Session(command_env, "mine")
    yield opened
    opened.close()


def test_a_person_is_in_the_sandbox_until_the_shell_ends(session: Session) -> None:
    session.see(r"sandbox@sandbox:/workspace\$ ")
    session.type("stty size; id -u\r")
    session.see("40 100\r\n1000\r\n")
    session.resize(30, 90)
    session.type("until [ \"$(stty size)\" = '30 90' ]; do :; done; echo fol''lowed\r")
    session.see("followed")
    # Until it has begun, what is typed goes to the shell.
    session.type("sh -c \"echo be''gun; exec sleep 1000\"\r")
    session.see("begun")
    session.type("\x03")
    session.see(r"\^C")
    session.type("exit 7\r")
    assert session.status() == 7
    assert session.is_as_it_was()


def test_ctrl_bracket_leaves_and_the_id_comes_back(session: Session, command_env: dict[str, str]) -> None:
    session.see(r"\$ ")
    session.type("name=kept; echo be''fore\r")
    session.see("before")
    session.type("\x1d")
    terminal = session.see(r"--id (term_\w+)")[1].decode()
    assert session.status() == 0
    assert session.is_as_it_was()
    again = Session(command_env, "mine", "--id", terminal)
    viewer = Session(command_env, "mine", "--id", terminal, "--view")
    for one in (again, viewer):
        one.see(r"before\r\n")
    viewer.type("echo not from he''re\r")
    again.type("echo $name\r")
    for one in (again, viewer):
        assert b"not from here" not in one.see(r"kept\r\n").string
    again.type("kill -9 $$\r")
    assert (again.status(), viewer.status()) == (137, 137)
    again.close()
    viewer.close()


def test_without_a_terminal_the_input_is_typed_and_the_status_passed_on(
    box: str, command_env: dict[str, str]
) -> None:
    arguments = [lm_sandbox(), "sandbox", "terminal", box, "--", "bash", "--norc", "-s"]
    done = subprocess.run(
        arguments, env=command_env, input=b"tty; exit 5\n", capture_output=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 5, done
    assert b"/dev/pts/" in done.stdout
    refused = call(command_env, "sandbox", "terminal", box, "--id", "term_none")
    assert (refused.returncode, "no terminal 'term_none'" in refused.stderr) == (1, True), refused
    unknown = call(command_env, "sandbox", "terminal", "nothing")
    assert (unknown.returncode, "There is no sandbox 'nothing'" in unknown.stderr) == (1, True)
