"""The launcher process when the server that it answers is suddenly gone."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.inside.launch import SCRIPT, Launcher, Recovery, version


@dataclass(frozen=True, slots=True)
class Running:
    """A launcher that waits for another server when its own is gone.

    Attributes:
        control: The server's end.
        process: The launcher.
        path: Where other servers come.
    """

    control: socket.socket
    process: subprocess.Popen[bytes]
    path: Path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = tmp_path / "a.socket"
    with ours, theirs, listener:
        listener.bind(str(path))
        listener.listen()
        passed = (theirs.fileno(), listener.fileno())
        arguments = [*map(str, passed), str(path), "30", version()]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(SCRIPT), *arguments], pass_fds=passed
        )
        theirs.close()
        listener.close()
        yield Running(ours, process, path)
    assert process.wait(30) == 0


def ask(control: socket.socket, number: int, do: str, fds: tuple[int, ...] = (), **more: object) -> None:
    socket.send_fds(control, [json.dumps({"id": number, "do": do, **more}).encode()], fds)


@pytest.mark.anyio
async def test_a_launcher_outlives_a_server_that_leaves_its_answers_unread(
    running: Running, tmp_path: Path
) -> None:
    control = running.control
    with (tmp_path / "file").open("wb") as file:
        ask(control, 1, "keep", (file.fileno(),), sandbox="sb_1", name="sandbox", note="a note")
    # The kernel tells the launcher of what is left unread as of a reset.
    assert select.select([control], [], [], 30)[0]
    control.close()
    async with Launcher(Recovery(tmp_path, 30)) as heir:
        kept = await heir.recall()
        assert [(one.sandbox, one.name, one.note) for one in kept] == [("sb_1", "sandbox", "a note")]
        for one in kept:
            for fd in one.fds:
                os.close(fd)


def test_a_server_that_comes_before_the_launcher_knows_that_its_own_is_gone_is_not_turned_away(
    running: Running, tmp_path: Path
) -> None:
    # As on a host that is so busy that the launcher does not run meanwhile.
    running.process.send_signal(signal.SIGSTOP)
    with (tmp_path / "file").open("wb") as file:
        for number in range(3):
            ask(running.control, number, "keep", (file.fileno(),), sandbox="sb_1", name=f"{number}", note="")
    running.control.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as heir:
        heir.connect(str(running.path))
        running.process.send_signal(signal.SIGCONT)
        assert json.loads(heir.recv(4096)) == {"busy": False, "version": version()}
        heir.send(b"quit")
        assert running.process.wait(30) == 0


def test_a_server_that_comes_while_there_is_one_is_turned_away(running: Running) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect(str(running.path))
            assert json.loads(other.recv(4096)) == {"busy": True}
    running.control.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as heir:
        heir.connect(str(running.path))
        assert not json.loads(heir.recv(4096))["busy"]
        heir.send(b"quit")
