"""The launcher process, seen from the server: asks it for sandboxes and zygotes."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.inside.channel import Channel, Message
from lm_sandbox.sandboxes.inside.seccomp import build_filter

SCRIPT = Path(__file__).with_name("launcher.py")
BASH = "/bin/bash"
EXECUTE_ONLY = 0o111
ANSWER_S = 20.0
STOP_S = 10.0


class Launcher:
    """Starts the launcher process and talks to it.

    Attributes:
        bpf: A descriptor of the system call filter, the same for every sandbox.
        keeper: A descriptor of the program that a sandbox's first process runs: bash, unreadable.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._numbers = count(1)
        self.bpf = -1
        self.keeper = -1

    async def __aenter__(self) -> Self:
        self.bpf = memory_file("seccomp", build_filter())
        self.keeper = memory_file("keeper", await anyio.Path(BASH).read_bytes())
        os.fchmod(self.keeper, EXECUTE_ONLY)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = _start(theirs)
        self._channel = Channel(ours, self._on_message, self._on_end)
        return self

    async def __aexit__(self, *exc: object) -> None:
        os.close(self.bpf)
        os.close(self.keeper)
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._process.wait, STOP_S)

    def open_filter(self) -> int:
        """Returns a descriptor of the filter with a position of its own, for one who reads it."""
        return os.open(f"/proc/self/fd/{self.bpf}", os.O_RDONLY | os.O_CLOEXEC)

    async def ask(self, do: str, message: Message, fds: Sequence[int] = ()) -> Message:
        """Sends an order and returns the answer.

        Raises:
            DriverUnavailable: the launcher is gone, does not answer, or could not do it.
        """
        if self._channel is None:
            raise RuntimeError("the launcher is used outside its context")
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            with anyio.fail_after(ANSWER_S):
                await self._channel.send({**message, "do": do, "id": number}, fds)
                answer = await future
        except (BrokenPipeError, TimeoutError) as error:
            raise DriverUnavailable("The sandbox launcher is gone; restart the server.") from error
        finally:
            del self._answers[number]
        if "error" in answer:
            raise DriverUnavailable(f"The kernel refused a sandbox: {answer['error']}.")
        return answer

    def _on_message(self, message: Message) -> None:
        future = self._answers.get(message["id"])
        if future is not None and not future.done():
            future.set_result(message)

    def _on_end(self) -> None:
        for future in self._answers.values():
            if not future.done():
                future.set_exception(BrokenPipeError())


def memory_file(name: str, content: bytes) -> int:
    """Returns a descriptor of a file that exists in memory only, at its start."""
    fd = os.memfd_create(name)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _start(control: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(SCRIPT), str(control.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={},
        pass_fds=[control.fileno()],
        start_new_session=True,
    )
