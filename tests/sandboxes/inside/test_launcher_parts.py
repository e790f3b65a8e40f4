"""The launcher process when the server that it answers is suddenly gone."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.inside.launch import SCRIPT, Launcher, Recovery, version


@pytest.fixture
def control(tmp_path: Path) -> Iterator[socket.socket]:
    """The server's end of a launcher that waits for another server."""
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
        yield ours
    assert process.wait(30) == 0


def ask(control: socket.socket, number: int, do: str, fds: tuple[int, ...] = (), **more: object) -> None:
    socket.send_fds(control, [json.dumps({"id": number, "do": do, **more}).encode()], fds)


@pytest.mark.anyio
async def test_a_launcher_outlives_a_server_that_leaves_its_answers_unread(
    control: socket.socket, tmp_path: Path
) -> None:
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
