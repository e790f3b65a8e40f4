"""A driver without a kernel, for the service's own rules; the conformance suite has the real one."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, cast

import anyio
from anyio.abc import ByteSendStream

from lm_sandbox.errors import SandboxFailed, SandboxNotFound, Unreachable
from lm_sandbox.sandboxes.driver import (
    Adopted,
    Check,
    Door,
    Enforced,
    FileChange,
    RunState,
    SandboxId,
    SandboxSpec,
    Stats,
)
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.limits import Limit, Limits
from lm_sandbox.sandboxes.process import CommandSpec, Exit, OutputStream, Process, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSpec
from tests.sandboxes.fake_terminal import FakeTerminal


class Empty(OutputStream):
    async def receive(self, max_bytes: int = 65536) -> bytes:
        del max_bytes
        raise anyio.EndOfStream

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        del max_bytes
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        return


class Done:
    """A process that has ended well."""

    def __init__(self) -> None:
        self.stdin: ByteSendStream | None = None
        self.stdout: OutputStream = Empty()
        self.stderr: OutputStream = Empty()
        self.channel: OutputStream | None = None

    async def wait(self) -> Exit:
        return Exit(0, None)

    async def signal(self, number: int) -> None:
        del number

    async def kill(self) -> None:
        return

    def mark(self, since: str | None = None) -> str:
        return since or ""

    async def interrupt(self, number: int) -> None:
        del number

    def limits_hit(self) -> frozenset[Limit]:
        return frozenset()

    async def aclose(self) -> None:
        return


class Doomed(Done):
    """A process under which the sandbox dies."""

    async def wait(self) -> Exit:
        raise SandboxFailed("it is gone")


@dataclass
class FakeDriver:
    """Remembers what it was asked for."""

    name: str = "fake"
    adopted: list[Adopted] = field(default_factory=list)
    alive: dict[SandboxId, SandboxSpec] = field(default_factory=dict)
    commands: list[CommandSpec] = field(default_factory=list)
    terminals: list[FakeTerminal] = field(default_factory=list)
    states: dict[SandboxId, RunState] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    refuse: Exception | None = None
    start: Callable[[], Process] = Done

    def checks(self) -> list[Check]:
        return []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.alive.clear()

    async def adopt(self) -> list[Adopted]:
        return self.adopted

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        if self.refuse is not None:
            raise self.refuse
        self.alive[sandbox] = spec
        return Enforced(self.name, "sandbox", 1, "none", True, {})

    async def limit(self, sandbox: SandboxId, limits: Limits) -> Mapping[str, str]:
        if self.refuse is not None:
            raise self.refuse
        self.alive[sandbox] = replace(self.alive[sandbox], limits=limits)
        return {"pids": f"{limits.pids} (fake)"}

    async def spawn(self, sandbox: SandboxId, command: CommandSpec) -> Process:
        if sandbox not in self.alive:
            raise SandboxNotFound("gone")
        self.commands.append(command)
        return self.start()

    async def open_terminal(self, sandbox: SandboxId, spec: TerminalSpec) -> Terminal:
        if sandbox not in self.alive:
            raise SandboxNotFound("gone")
        opened = FakeTerminal(spec)
        self.terminals.append(opened)
        return opened

    async def keep(self, sandbox: SandboxId, name: str, file: int | None) -> None:
        assert sandbox in self.alive
        if file is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = file

    async def set_state(self, sandbox: SandboxId, state: RunState) -> None:
        self.states[sandbox] = state

    async def save(self, sandbox: SandboxId, folder: Path) -> int:
        assert sandbox in self.alive
        folder.mkdir()
        return 1

    async def load(self, sandbox: SandboxId, folder: Path) -> None:
        assert sandbox in self.alive
        assert folder.exists()

    async def changes(self, sandbox: SandboxId, folder: Path, until: Path | None = None) -> list[FileChange]:
        del until
        assert sandbox in self.alive
        assert folder.exists()
        return []

    async def stats(self, sandbox: SandboxId) -> Stats:
        assert sandbox in self.alive
        return Stats(pids=1)

    async def listen(self, sandbox: SandboxId, doors: Sequence[Door]) -> list[socket.socket]:
        if sandbox not in self.alive:
            raise SandboxNotFound("gone")
        made = [socket.socket(socket.AF_INET, door.kind) for door in doors]
        for sock, door in zip(made, doors, strict=True):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            if door.kind is socket.SOCK_STREAM:
                sock.listen()
        return made

    async def connect(self, sandbox: SandboxId, port: int) -> socket.socket:
        del sandbox
        raise Unreachable(f"Nothing listens on port {port} of the sandbox.")

    def files(self, sandbox: SandboxId) -> SandboxFiles:
        if sandbox not in self.alive:
            raise SandboxNotFound("gone")
        return cast("SandboxFiles", self)  # Nobody asks it for more than that it is there.

    async def ended(self) -> list[SandboxId]:
        return []

    async def destroy(self, sandbox: SandboxId) -> None:
        self.alive.pop(sandbox, None)
