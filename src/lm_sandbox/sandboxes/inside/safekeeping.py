"""What of a sandbox the launcher keeps, so that another server can go on with it, and under which names."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.process import Callback, Ends

# Before the names of programs; custody knows those of terminals and of what is remembered, too.
ZYGOTE, PROCESS, STDIN, TERMINAL, MEMORY = "zygote", "process/", "stdin/", "terminal/", "memory/"
# Before all of those of a sandbox's own root.
ROOT = "root/"


def files_of(kept: Mapping[str, Kept]) -> dict[str, int]:
    """Returns the open files that an earlier server had kept, by the names that it gave."""
    return {place.removeprefix(MEMORY): one.fds[0] for place, one in kept.items() if place.startswith(MEMORY)}


@dataclass(frozen=True, slots=True)
class KeptProgram:
    """A program that an earlier server has started.

    Attributes:
        name: By what servers know it.
        number: By what its zygote does.
        fds: What belongs to it.
    """

    name: str
    number: int
    fds: tuple[int, ...]


class Safekeeping:
    """Keeps what is started by one of a sandbox's users.

    Args:
        launcher: Outlives its server.
        sandbox: The id of the sandbox.
        root: Whether the user is the sandbox's own root.
    """

    def __init__(self, launcher: Launcher, sandbox: str, *, root: bool) -> None:
        self._launcher = launcher
        self._sandbox = sandbox
        self._prefix = ROOT if root else ""
        self.zygote = self._prefix + ZYGOTE

    async def keep_process(self, name: str, number: int, ends: Ends) -> None:
        """Keeps the server's ends of a command's pipes.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        # Apart, because its end has to be seen when it is closed.
        if ends.stdin is not None:
            await self._keep(STDIN, name, number, ends.stdin)
        channel = () if ends.channel is None else (ends.channel,)
        await self._keep(PROCESS, name, number, ends.stdout, ends.stderr, *channel)

    async def keep_terminal(self, name: str, number: int, master: int, slave: int) -> None:
        """Keeps both sides of a terminal: of one alone the kernel would tell that it was hung up.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        await self._keep(TERMINAL, name, number, master, slave)

    def forget_process(self, name: str) -> Callback:
        """Returns what keeps its output no longer."""
        return partial(self._drop, PROCESS, name)

    def forget_stdin(self, name: str) -> Callback:
        """Returns what keeps its input no longer."""
        return partial(self._drop, STDIN, name)

    def forget_terminal(self, name: str) -> Callback:
        """Returns what keeps it no longer."""
        return partial(self._drop, TERMINAL, name)

    def processes(self, kept: Mapping[str, Kept]) -> Iterator[tuple[KeptProgram, Ends]]:
        """Gives the commands that are kept, with the server's ends of their pipes."""
        for program in self._programs(PROCESS, kept):
            stdin = kept.get(f"{self._prefix}{STDIN}{program.name}")
            out, error, *channel = program.fds
            ends = Ends(out, error, stdin.fds[0] if stdin else None, channel[0] if channel else None)
            yield program, ends

    def terminals(self, kept: Mapping[str, Kept]) -> Iterator[KeptProgram]:
        """Gives the terminals that are kept."""
        return self._programs(TERMINAL, kept)

    def _programs(self, kind: str, kept: Mapping[str, Kept]) -> Iterator[KeptProgram]:
        for place, one in kept.items():
            if place.startswith(self._prefix + kind):
                note = json.loads(one.note)
                yield KeptProgram(note["name"], note["number"], one.fds)

    async def _keep(self, kind: str, name: str, number: int, *fds: int) -> None:
        note = json.dumps({"name": name, "number": number})
        await self._launcher.keep(self._sandbox, f"{self._prefix}{kind}{name}", note, fds)

    async def _drop(self, kind: str, name: str) -> None:
        await self._launcher.drop(self._sandbox, f"{self._prefix}{kind}{name}")
