"""Answers that take a while: they end when their client goes away, and nothing is buffered."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

Write = Callable[[bytes], Awaitable[None]]
BEAT_S = 15.0
LINE_ENDS = {number: f"\\u{number:04x}" for number in (0x85, 0x2028, 0x2029)}
BEAT = b": still at work\n\n"
ENDS = (b"\n\n", b"\r\n\r\n")


class ClientGone(ClientDisconnect):
    """The client closed its connection before the answer was ready."""


async def while_connected(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """Does the work, and cancels it when the client goes away.

    The body must have been read before.

    Raises:
        ClientGone: the client went away first.
    """
    results: list[T] = []
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_gone, request.receive, tasks.cancel_scope)
        try:
            results.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again below, not wrapped into a group
            failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise ClientGone
    return results[0]


class PushResponse(Response):
    """A streamed answer whose producer writes into the connection itself.

    The client going away cancels the producer; a slow client makes it wait.

    Args:
        produce: Writes the body, piece by piece.
        media_type: Of the body.
        status_code: Sent before the first piece.
        headers: More of them.
        held: Left when the answer has ended, however it did.
    """

    def __init__(
        self,
        produce: Callable[[Write], Awaitable[None]],
        *,
        media_type: str = "text/event-stream",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        held: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        self._produce = produce
        self._held = held or nullcontext()
        self.status_code = status_code
        self.background = None
        self.media_type = media_type
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        del scope
        async with self._held:
            await self._answer(receive, send)

    async def _answer(self, receive: Receive, send: Send) -> None:

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone, receive, tasks.cancel_scope)
            await self._write_all(write, tasks)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()

    async def _write_all(self, write: Write, tasks: TaskGroup) -> None:
        del tasks
        await self._produce(write)


class EventStream(PushResponse):
    """Server-sent events; a comment now and then tells everyone on the way that it lives.

    A comment never comes within an event, whatever pieces the events are written in.
    """

    async def _write_all(self, write: Write, tasks: TaskGroup) -> None:
        written, whole = anyio.current_time(), True

        async def write_on(data: bytes) -> None:
            nonlocal written, whole
            # Each piece is sent at once, so that nothing comes between it and what is known of it.
            written, whole = anyio.current_time(), data.endswith(ENDS)
            await write(data)

        async def keep_alive() -> None:
            while True:
                await anyio.sleep_until(written + BEAT_S)
                if anyio.current_time() < written + BEAT_S:
                    continue
                if whole:
                    await write_on(BEAT)
                else:
                    await anyio.sleep(BEAT_S)

        tasks.start_soon(keep_alive)
        await self._produce(write_on)


def sse(data: object, event: str | None = None, *, event_id: int | None = None) -> bytes:
    """Writes one server-sent event with JSON data."""
    name = f"event: {event}\n" if event else ""
    number = f"id: {event_id}\n" if event_id is not None else ""
    return f"{number}{name}data: {json_line(data)}\n\n".encode(errors="replace")


def json_line(data: object) -> str:
    """Writes JSON that nobody takes for more than one line, whatever he takes for the end of one."""
    return json.dumps(data, ensure_ascii=False).translate(LINE_ENDS)


async def until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    scope.cancel()
