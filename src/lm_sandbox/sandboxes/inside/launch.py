"""The launcher process, seen from the server: asks it for sandboxes and zygotes."""

import asyncio
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
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
ENDING = ".socket"


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that a launcher has kept.

    Attributes:
        sandbox: Of which sandbox it is.
        name: Names it there.
        note: What was noted with it.
        fds: Its descriptors.
    """

    sandbox: str
    name: str
    note: str
    fds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a server that was killed is followed by another one.

    Attributes:
        folder: Where launchers are found again.
        wait_s: How long one waits for another server before it ends everything.
    """

    folder: Path
    wait_s: float


class Launcher:
    """Starts the launcher process, or takes over one whose server is gone, and talks to it.

    Attributes:
        bpf: A descriptor of the system call filter, the same for every sandbox.
        keeper: A descriptor of the program that a sandbox's first process runs: bash, unreadable.

    Args:
        recovery: How it is found again; None where it ends with the server.
        script: What it runs.
    """

    def __init__(self, recovery: Recovery | None = None, script: Path = SCRIPT) -> None:
        self._recovery = recovery
        self._script = script
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._numbers = count(1)
        self.bpf = -1
        self.keeper = -1

    async def __aenter__(self) -> Self:
        if not await self.inherit():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = _start(theirs, self._recovery, self._script)
            await self._connect(ours)
        return self

    async def inherit(self) -> bool:
        """Takes over a launcher whose server is gone, instead of starting one; tells whether there was any.

        Its context is then to be left, without having been entered.
        """
        if self._recovery is None:
            return False
        ours = await anyio.to_thread.run_sync(take_over, self._recovery.folder, self._script)
        if ours is None:
            return False
        await self._connect(ours)
        return True

    async def _connect(self, ours: socket.socket) -> None:
        self.bpf = memory_file("seccomp", build_filter())
        self.keeper = executable("keeper", await anyio.Path(BASH).read_bytes())
        ours.setblocking(False)
        self._channel = Channel(ours, self._on_message, self._on_end)

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            if self._recovery is not None:
                with suppress(DriverUnavailable):
                    await self.ask("quit", {})
            os.close(self.bpf)
            os.close(self.keeper)
            if self._channel is not None:
                self._channel.close()
            if self._process is not None:
                # It goes on by itself where the engine has to end something and does not answer.
                with suppress(subprocess.TimeoutExpired):
                    await anyio.to_thread.run_sync(self._process.wait, STOP_S)

    async def keep(self, sandbox: str, name: str, note: str, fds: Sequence[int]) -> None:
        """Has the launcher keep something for a server that comes after this one was killed.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        if self._recovery is not None:
            await self.ask("keep", {"sandbox": sandbox, "name": name, "note": note}, fds)

    async def drop(self, sandbox: str, name: str) -> None:
        """Keeps it no longer; does nothing where the launcher is gone."""
        if self._recovery is not None:
            with suppress(DriverUnavailable):
                await self.ask("drop", {"sandbox": sandbox, "name": name})

    async def recall(self) -> list[Kept]:
        """Returns all that an earlier server had kept; the descriptors are the caller's."""
        if self._recovery is None or self._process is not None:
            return []
        kept: list[Kept] = []
        while names := (await self.ask("kept", {"start": len(kept)}))["names"]:
            for sandbox, name in names:
                told = await self.ask("recall", {"sandbox": sandbox, "name": name})
                kept.append(Kept(sandbox, name, told["note"], tuple(told.get("fds", ()))))
        return kept

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


def executable(name: str, content: bytes) -> int:
    """Returns a descriptor of a program in memory that everybody may run and nobody may read."""
    fd = memory_file(name, content)
    os.fchmod(fd, EXECUTE_ONLY)
    return fd


def take_over(folder: Path, script: Path = SCRIPT) -> socket.socket | None:
    """Connects to a launcher whose server is gone; None where there is none of this version."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in sorted(folder.glob(f"*{ENDING}")):
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(ANSWER_S)
        with ExitStack() as exits:
            exits.callback(control.close)
            try:
                control.connect(short(path, exits))
                hello = json.loads(control.recv(4096) or "{}")
                wanted = hello.get("version") == version(script)
                if not hello.get("busy", True):
                    control.send(b"take" if wanted else b"quit")
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                continue
            except OSError:
                continue
            if wanted:
                exits.pop_all()
                return control
    return None


def short(path: Path, exits: ExitStack) -> str:
    """Returns another name for a path, short enough for a socket (unix(7): 108 bytes)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    exits.callback(os.close, folder)
    return f"/proc/self/fd/{folder}/{path.name}"


def version(script: Path = SCRIPT) -> str:
    """Tells launchers apart whose code differs."""
    code = sorted({*SCRIPT.parent.rglob("*.py"), *script.parent.glob("*.py")})
    return hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest()


def _start(control: socket.socket, recovery: Recovery | None, script: Path) -> subprocess.Popen[bytes]:
    arguments, passed = [str(control.fileno())], [control.fileno()]
    with ExitStack() as exits:
        if recovery is not None:
            path = recovery.folder / f"{secrets.token_hex(8)}{ENDING}"
            listener = exits.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            listener.bind(short(path, exits))
            listener.listen()
            arguments += [str(listener.fileno()), str(path), str(recovery.wait_s), version(script)]
            passed.append(listener.fileno())
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(script), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={},
            pass_fds=passed,
            start_new_session=True,
        )
