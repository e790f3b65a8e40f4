"""Moves bytes both ways between two connections until both are done or nothing moves any more."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, TaskGroup

PIECE = 64 * 1024
IDLE_S = 600.0
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)

Opening = Callable[[], Awaitable[bytes]]


async def relay(
    left: ByteStream, right: ByteStream, opening: Opening | None = None, *, idle_s: float = IDLE_S
) -> None:
    """Relays until both sides have ended, one breaks, or neither has said anything for `idle_s`.

    A slow reader makes the other side wait; nothing is kept but one piece each way.

    Args:
        left: One side.
        right: The other.
        opening: Gives the first bytes of the left side; what it raises ends the relay.
        idle_s: In seconds.
    """
    with anyio.CancelScope() as scope:

        async def pump(source: ByteStream, sink: ByteStream, first: Opening | None) -> None:
            try:
                if first is not None:
                    await sink.send(await first())
                while True:
                    scope.deadline = anyio.current_time() + idle_s
                    await sink.send(await source.receive(PIECE))
            except anyio.EndOfStream:
                await _end(sink)
            except GONE:
                scope.cancel()

        async with together() as tasks:
            tasks.start_soon(pump, left, right, opening)
            tasks.start_soon(pump, right, left, None)


@asynccontextmanager
async def together() -> AsyncIterator[TaskGroup]:
    """A task group out of which the first failure comes as itself."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


async def _end(sink: ByteStream) -> None:
    try:
        await sink.send_eof()
    except GONE:
        return  # It has gone itself.


class Resumed(ByteStream):
    """A stream of which some bytes were read already."""

    def __init__(self, stream: ByteStream, early: bytes) -> None:
        self._stream = stream
        self._early = early

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._early:
            piece, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return piece
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()
