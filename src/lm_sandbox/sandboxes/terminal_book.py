"""The terminals of a sandbox: what they have shown, and everybody who looks at them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from lm_sandbox.errors import Conflict, LmSandboxError, QuotaReached, TerminalNotFound, Unavailable
from lm_sandbox.sandboxes.inside.scroll_back import Recording
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.process import Exit, Terminal
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec
from lm_sandbox.sandboxes.terminal_notes import TerminalNotes

PIECE_BYTES = 64 * 1024
# Between two pieces: what comes in a burst is taken together, and no program keeps the server busy.
PAUSE_S = 0.002
INPUT_S = 5.0
END_S = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """The next bytes of a terminal's output."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Replayed:
    """A screen of this size starts anew with the scroll-back: at first, and for who was too slow."""

    size: TerminalSize


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has another size."""

    size: TerminalSize


@dataclass(frozen=True, slots=True)
class Ended:
    """The program has ended and all that it wrote was told."""

    exit: Exit


TerminalEvent = Shown | Replayed | Resized | Ended


@dataclass(slots=True)
class LiveTerminal:
    """One terminal, from its opening until it is closed or makes room for others.

    Attributes:
        id: Names it.
        notes: What another server has to know of it; owned.
        terminal: The program and its terminal; None where it had ended before this server was started.
        scroll_back: The last that it has shown; owned.
        touch: Called whenever something happens on it.
        viewers: How many look at it.
        failure: What kept it from coming to an end, such as the end of its sandbox.
    """

    id: str
    notes: TerminalNotes
    terminal: Terminal | None
    scroll_back: Recording
    touch: Callable[[], None]
    viewers: int = 0
    failure: LmSandboxError | None = None
    _news: anyio.Event = field(default_factory=anyio.Event)
    _ended: anyio.Event = field(default_factory=anyio.Event)
    _typing: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        if self.terminal is None:
            self._ended.set()

    @property
    def spec(self) -> TerminalSpec:
        """What was asked for."""
        return self.notes.spec

    @property
    def size(self) -> TerminalSize:
        """How large it is now."""
        return self.notes.size

    @property
    def started_at(self) -> datetime:
        """When it was opened."""
        return self.notes.started_at

    @property
    def exited(self) -> Exit | None:
        """How its program ended; None while it runs."""
        return self.notes.exited

    @property
    def running(self) -> bool:
        """Whether its program has not ended yet."""
        return not self._ended.is_set()

    async def run(self) -> None:
        """Keeps what it shows, until its program has ended.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        terminal = self._live()
        try:
            async for piece in terminal.output:
                self.scroll_back.write(piece)
                self._tell()
                await anyio.sleep(PAUSE_S)
            self.notes.note(self.size, await terminal.wait())
        except LmSandboxError as error:
            self.failure = error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await terminal.aclose()
            self._ended.set()
            self._tell()

    async def follow(self) -> AsyncIterator[TerminalEvent]:
        """Tells all that happens, from the scroll-back on, to the program's end.

        It waits for nobody: who takes longer than the scroll-back lasts gets all of that once more.

        Raises:
            LmSandboxError: the terminal came to no end of its own.
        """
        position, size = -1, self.size
        while True:
            news, ended = self._news, not self.running
            if position < self.scroll_back.start:
                size, position = self.size, self.scroll_back.end
                replay = self.scroll_back.replay()
                yield Replayed(size)
                for place in range(0, len(replay), PIECE_BYTES):
                    yield Shown(replay[place : place + PIECE_BYTES])
            elif size != self.size:
                size = self.size
                yield Resized(size)
            elif data := self.scroll_back.read(position, PIECE_BYTES):
                position += len(data)
                yield Shown(data)
            elif ended:
                break
            else:
                await news.wait()
        if self.exited is None:
            raise self.failure or Unavailable("The terminal has ended.")
        yield Ended(self.exited)

    @contextmanager
    def viewed(self, most: int) -> Iterator[None]:
        """Counts somebody who looks at it.

        Raises:
            QuotaReached: as many as allowed do.
        """
        if self.viewers >= most:
            raise QuotaReached(f"All {most} places at this terminal are taken; one has to leave first.")
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    async def feed(self, data: bytes) -> None:
        """Gives the program input, as if it were typed.

        Raises:
            Conflict: the program has ended, or does not read what was typed before.
        """
        terminal = self._live()
        try:
            with anyio.fail_after(INPUT_S):
                async with self._typing:
                    await terminal.input.send(data)
        except TimeoutError as error:
            raise Conflict("The program does not read its input; some of it was dropped.") from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Conflict("The program has ended.") from error

    async def resize(self, size: TerminalSize) -> None:
        """Changes the size, for everybody.

        Raises:
            Conflict: the program has ended.
        """
        await self._live().resize(size)
        self.notes.note(size)
        self._tell()

    async def signal(self, number: int) -> None:
        """Sends a signal to the process group in the foreground.

        Raises:
            Conflict: the program has ended.
        """
        await self._live().signal(number)

    async def end(self) -> None:
        """Kills the program with all that it started, and waits until that is done."""
        if self.running:
            with anyio.move_on_after(END_S):
                await self._live().kill()
                await self._ended.wait()

    def close(self) -> None:
        """Lets go of what is known of it; idempotent."""
        self.notes.notebook.close()
        self.scroll_back.close()

    def _live(self) -> Terminal:
        if self.terminal is None or not self.running:
            raise Conflict("The program on this terminal has ended.")
        return self.terminal

    def _tell(self) -> None:
        self.touch()
        self._news.set()
        self._news = anyio.Event()


class TerminalBook:
    """The terminals of one sandbox: all that are open, and ended ones as long as there is room."""

    def __init__(self) -> None:
        self._terminals: dict[str, LiveTerminal] = {}

    def make_room(self, most: int) -> LiveTerminal | None:
        """Forgets an ended one where another could not be entered otherwise, and returns it.

        Raises:
            QuotaReached: as many as allowed are open.
        """
        if len(self._terminals) < most:
            return None
        ended = next((one for one in self._terminals.values() if not one.running), None)
        if ended is None:
            raise QuotaReached(f"The sandbox has {most} terminals, and no more are allowed; close one.")
        self.forget(ended)
        return ended

    def add(self, terminal: LiveTerminal) -> None:
        """Enters one that was just opened."""
        self._terminals[terminal.id] = terminal

    def find(self, terminal_id: str) -> LiveTerminal:
        """Returns the terminal of this id.

        Raises:
            TerminalNotFound: there is none, or it is forgotten.
        """
        terminal = self._terminals.get(terminal_id)
        if terminal is None:
            raise TerminalNotFound(f"The sandbox has no terminal {terminal_id!r}, or it ended long ago.")
        return terminal

    def page(self, after: str | None, limit: int) -> tuple[list[LiveTerminal], bool]:
        """Lists them, oldest first, from the one after `after` on, and tells whether there are more."""
        return page_of(list(self._terminals.values()), after, limit)

    def forget(self, terminal: LiveTerminal) -> None:
        """Takes one out; idempotent."""
        self._terminals.pop(terminal.id, None)
        terminal.close()

    def drop(self) -> None:
        """Lets go of all of them; the sandbox is gone."""
        for terminal in self._terminals.values():
            terminal.close()
