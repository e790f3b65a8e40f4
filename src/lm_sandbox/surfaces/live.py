"""A streamed answer whose status waits for its first piece: what fails before it has a status of its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
from fastapi import Response
from starlette.types import Receive, Scope, Send

from lm_sandbox.storage.servers import HeldElsewhere
from lm_sandbox.surfaces.errors import Failure, Render, failure_of
from lm_sandbox.surfaces.forwarding.hop import was_forwarded
from lm_sandbox.surfaces.streams import Write, until_gone


@dataclass(frozen=True, slots=True)
class StreamWire:
    """How a surface writes its streams.

    Attributes:
        media_type: Of the body.
        render: Answers with a failure where nothing has been written yet.
        last_words: Writes a failure as the last piece.
        heartbeat: A piece for times in which there is no other, or nothing.
        heartbeat_s: How long such a time is.
    """

    media_type: str
    render: Render
    last_words: Callable[[Failure], bytes]
    heartbeat: bytes = b""
    heartbeat_s: float = 15.0


class LiveResponse(Response):
    """Writes pieces as they are made; the client going away cancels their maker.

    Args:
        produce: Writes the body, piece by piece.
        wire: How the surface writes.
        headers: More of them.
    """

    def __init__(
        self,
        produce: Callable[[Write], Awaitable[None]],
        wire: StreamWire,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._produce = produce
        self._wire = wire
        self.status_code = 200
        self.background = None
        self.media_type = wire.media_type
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        body = _Body(send, self.status_code, self.raw_headers)
        early = await self._write(body, receive)
        if isinstance(early, HeldElsewhere) and not was_forwarded(scope):
            raise early  # For the edge, which hands the request on.
        if early is not None:
            with anyio.CancelScope(shield=True):
                await self._wire.render(failure_of(early))(scope, receive, send)

    async def _write(self, body: "_Body", receive: Receive) -> Exception | None:
        """Writes the body; returns what went wrong before any of it was there."""
        early: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone, receive, tasks.cancel_scope)
            if self._wire.heartbeat:
                tasks.start_soon(body.beat_for_ever, self._wire.heartbeat, self._wire.heartbeat_s)
            try:
                await self._produce(body.write)
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes an answer
                if not body.begun:
                    early = error
                else:
                    await body.write(self._wire.last_words(failure_of(error)))
            if early is None:
                await body.end()
            tasks.cancel_scope.cancel()
        return early


class _Body:
    def __init__(self, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._start = {"type": "http.response.start", "status": status, "headers": headers}
        self._lock = anyio.Lock()
        self._written = 0
        self.begun = False

    async def write(self, data: bytes) -> None:
        async with self._lock:
            if not self.begun:
                self.begun = True
                await self._send(self._start)
            self._written += 1
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        async with self._lock:
            if not self.begun:
                self.begun = True
                await self._send(self._start)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def beat_for_ever(self, heartbeat: bytes, every_s: float) -> None:
        while True:
            before = self._written
            await anyio.sleep(every_s)
            if self._written == before:
                await self.write(heartbeat)
