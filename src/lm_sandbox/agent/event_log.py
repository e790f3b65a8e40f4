"""What has happened in a run so far, for those who follow it."""

from collections.abc import AsyncIterator

import anyio


class EventLog:
    """Numbered events, each a JSON text; the first one has number 0."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._closed = False
        self._more = anyio.Event()

    def append(self, event: str) -> None:
        """Adds the next event."""
        self.events.append(event)
        self._wake()

    def close(self) -> None:
        """Says that no more will come."""
        self._closed = True
        self._wake()

    async def follow(self, after: int = -1) -> AsyncIterator[str]:
        """Yields the events behind a number, those to come too, until the end."""
        place = max(0, after + 1)
        while True:
            more = self._more
            while place < len(self.events):
                yield self.events[place]
                place += 1
            if self._closed:
                return
            await more.wait()

    def _wake(self) -> None:
        self._more.set()
        self._more = anyio.Event()
