"""Who is served next: callers take turns, however much one of them asks."""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from lm_sandbox.errors import NoCapacity

RETRY_AFTER_S = 2


class FairQueue:
    """Lets so many in at once; the others wait, first by caller in turn, then in order.

    Args:
        at_once: How many are in.
        longest: How many wait at most.
        what: What they wait for, as messages call it.
    """

    def __init__(self, at_once: int, longest: int, what: str = "this model") -> None:
        self._free = at_once
        self._longest = longest
        self._what = what
        self._waiting: OrderedDict[str, deque[anyio.Event]] = OrderedDict()
        self.length = 0

    @asynccontextmanager
    async def turn(self, caller: str = "") -> AsyncIterator[None]:
        """Waits for a turn and has it until the context is left.

        Raises:
            NoCapacity: too many wait already.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, caller: str) -> None:
        if self.length >= self._longest:
            raise NoCapacity(
                f"{self.length} requests wait for {self._what} already; try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )
        called = anyio.Event()
        self._waiting.setdefault(caller, deque()).append(called)
        self.length += 1
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._next()
            else:
                self._leave(caller, called)
            raise

    def _next(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        caller, events = self._waiting.popitem(last=False)
        events.popleft().set()
        self.length -= 1
        if events:
            self._waiting[caller] = events

    def _leave(self, caller: str, called: anyio.Event) -> None:
        events = self._waiting[caller]
        events.remove(called)
        self.length -= 1
        if not events:
            del self._waiting[caller]
