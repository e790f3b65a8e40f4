"""The sandboxes that a driver has made: what is asked of the driver about one goes to that one."""

from collections.abc import Sequence
from pathlib import Path
from socket import socket
from typing import Generic, Protocol, TypeVar

from lm_sandbox.errors import SandboxNotFound
from lm_sandbox.sandboxes.driver import Door, FileChange, RunState, SandboxId, Stats
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.process import CommandSpec, Process, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSpec


class Network(Protocol):
    """The inside of a sandbox's network."""

    async def listen(self, doors: Sequence[Door]) -> list[socket]:
        """Listens; raises as `SandboxDriver.listen` does."""
        ...

    async def connect(self, port: int) -> socket:
        """Connects; raises as `SandboxDriver.connect` does."""
        ...


class Neighbour(Protocol):
    """One sandbox; each method raises as that of `SandboxDriver` does."""

    @property
    def alive(self) -> bool:
        """Whether it has not died."""
        ...

    @property
    def files(self) -> SandboxFiles:
        """The way to its files."""
        ...

    @property
    def network(self) -> Network:
        """The inside of its network."""
        ...

    async def spawn(self, command: CommandSpec) -> Process:
        """Starts a program."""
        ...

    async def open_terminal(self, spec: TerminalSpec) -> Terminal:
        """Starts a program on a pseudo-terminal."""
        ...

    async def keep(self, name: str, file: int | None) -> None:
        """Has an open file kept for another server, or kept no longer."""
        ...

    async def set_state(self, state: RunState) -> None:
        """Lets it run, halts its processes, or ends them."""
        ...

    async def save(self, folder: Path) -> int:
        """Copies its files to a new folder."""
        ...

    async def load(self, folder: Path) -> None:
        """Puts saved files in the place of its own."""
        ...

    async def changes(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Tells which files are not as they were saved."""
        ...

    async def stats(self) -> Stats:
        """Tells what it uses now."""
        ...


S = TypeVar("S", bound=Neighbour)


class Neighbourhood(Generic[S]):
    """The part of `SandboxDriver` that is about one sandbox."""

    def __init__(self) -> None:
        self._sandboxes: dict[SandboxId, S] = {}

    async def spawn(self, sandbox: SandboxId, command: CommandSpec) -> Process:
        """Starts a program in the sandbox."""
        return await self._find(sandbox).spawn(command)

    async def open_terminal(self, sandbox: SandboxId, spec: TerminalSpec) -> Terminal:
        """Starts a program on a pseudo-terminal."""
        return await self._find(sandbox).open_terminal(spec)

    async def keep(self, sandbox: SandboxId, name: str, file: int | None) -> None:
        """Has an open file kept for another server, or kept no longer."""
        await self._find(sandbox).keep(name, file)

    async def listen(self, sandbox: SandboxId, doors: Sequence[Door]) -> list[socket]:
        """Listens inside the sandbox."""
        return await self._find(sandbox).network.listen(doors)

    async def connect(self, sandbox: SandboxId, port: int) -> socket:
        """Connects to what listens inside the sandbox."""
        return await self._find(sandbox).network.connect(port)

    async def set_state(self, sandbox: SandboxId, state: RunState) -> None:
        """Lets the sandbox run, halts its processes, or ends them."""
        await self._find(sandbox).set_state(state)

    async def save(self, sandbox: SandboxId, folder: Path) -> int:
        """Copies the sandbox's files to a new folder."""
        return await self._find(sandbox).save(folder)

    async def load(self, sandbox: SandboxId, folder: Path) -> None:
        """Puts saved files in the place of the sandbox's own."""
        await self._find(sandbox).load(folder)

    async def changes(self, sandbox: SandboxId, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Tells which files are not as they were saved: now, or as they were saved later, until then."""
        return await self._find(sandbox).changes(folder, until)

    async def stats(self, sandbox: SandboxId) -> Stats:
        """Tells what the sandbox uses now."""
        return await self._find(sandbox).stats()

    async def ended(self) -> list[SandboxId]:
        """Names the sandboxes that have died."""
        return [sandbox for sandbox, made in self._sandboxes.items() if not made.alive]

    def files(self, sandbox: SandboxId) -> SandboxFiles:
        """Returns the way to the sandbox's files."""
        return self._find(sandbox).files

    def _find(self, sandbox: SandboxId) -> S:
        made = self._sandboxes.get(sandbox)
        if made is None:
            raise SandboxNotFound(f"There is no sandbox {sandbox!r}.")
        return made
