"""Who starts something in a container, and who halts it: never both at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Doorway:
    """Keeps a container from being halted while a program starts in it.

    The runtime's own half-started process would be halted too, and the engine hang on it.
    """

    def __init__(self) -> None:
        self._starting = 0
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Waits while the container is being halted; nobody halts it before this is left."""
        async with self._changed:
            self._starting += 1
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._starting -= 1
                    self._changed.notify_all()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Waits until nothing starts; nothing does before this is left."""
        async with self._changed:
            while self._starting:
                await self._changed.wait()
            yield
