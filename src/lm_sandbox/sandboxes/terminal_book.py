"""The terminals of a sandbox: what they have shown, and everybody who looks at them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio

from lm_sandbox.errors import Conflict, LmSandboxError, QuotaReached, TerminalNotFound, Unavailable
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.process import Exit, Terminal
from lm_sandbox.sandboxes.scroll_back import ScrollBack
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec

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
        spec: What was asked for.
        terminal: The program and its terminal.
        scroll_back: The last that it has shown.
        touch: Called whenever something happens on it.
        size: How large it is now.
        viewers: How many look at it.
        started_at: When it was opened.
        exited: How its program ended; None while it runs.
        failure: What kept it from coming to an end, such as the end of its sandbox.
    """

    id: str
    spec: TerminalSpec
    terminal: Terminal
    scroll_back: ScrollBack
    touch: Callable[[], None]
    size: TerminalSize = field(init=False)
    viewers: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    exited: Exit | None = None
    failure: LmSandboxError | None = None
    _news: anyio.Event = field(default_factory=anyio.Event)
    _ended: anyio.Event = field(default_factory=anyio.Event)
    _typing: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        self.size = self.spec.size

    @property
    def running(self) -> bool:
        """Whether its program has not ended yet."""
        return not self._ended.is_set()

    async def run(self) -> None:
        """Keeps what it shows, until its program has ended.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        try:
            async for piece in self.terminal.output:
                self.scroll_back.write(piece)
                self._tell()
                await anyio.sleep(PAUSE_S)
            self.exited = await self.terminal.wait()
        except LmSandboxError as error:
            self.failure = error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self.terminal.aclose()
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
        self._require_running()
        try:
            with anyio.fail_after(INPUT_S):
                async with self._typing:
                    await self.terminal.input.send(data)
        except TimeoutError as error:
            raise Conflict("The program does not read its input; some of it was dropped.") from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Conflict("The program has ended.") from error

    async def resize(self, size: TerminalSize) -> None:
        """Changes the size, for everybody.

        Raises:
            Conflict: the program has ended.
        """
        self._require_running()
        await self.terminal.resize(size)
        self.size = size
        self._tell()

    async def signal(self, number: int) -> None:
        """Sends a signal to the process group in the foreground.

        Raises:
            Conflict: the program has ended.
        """
        self._require_running()
        await self.terminal.signal(number)

    async def end(self) -> None:
        """Kills the program with all that it started, and waits until that is done."""
        if self.running:
            with anyio.move_on_after(END_S):
                await self.terminal.kill()
                await self._ended.wait()

    def _require_running(self) -> None:
        if not self.running:
            raise Conflict("The program on this terminal has ended.")

    def _tell(self) -> None:
        self.touch()
        self._news.set()
        self._news = anyio.Event()


class TerminalBook:
    """The terminals of one sandbox: all that are open, and ended ones as long as there is room."""

    def __init__(self) -> None:
        self._terminals: dict[str, LiveTerminal] = {}

    def make_room(self, most: int) -> None:
        """Forgets an ended one where another could not be entered otherwise.

        Raises:
            QuotaReached: as many as allowed are open.
        """
        if len(self._terminals) < most:
            return
        ended = next((one for one in self._terminals.values() if not one.running), None)
        if ended is None:
            raise QuotaReached(f"The sandbox has {most} terminals, and no more are allowed; close one.")
        del self._terminals[ended.id]

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
