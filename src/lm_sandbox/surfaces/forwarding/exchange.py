"""One HTTP request to another process of this server, streamed both ways and changed in nothing."""

from contextlib import suppress

import anyio
import h11
from anyio.abc import ByteStream
from starlette.types import Message, Receive, Scope, Send

from lm_sandbox.errors import Unavailable
from lm_sandbox.sandboxes.proxying.http_wire import Header, end_to_end
from lm_sandbox.sandboxes.proxying.relay import together
from lm_sandbox.surfaces.forwarding.hop import HEADER, Hop

PIECE = 64 * 1024
CONNECT_S = 5.0
LARGEST_HEAD = 256 * 1024


class HolderGone(Exception):
    """The process is not there; it has got nothing of the request."""


async def forward(address: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Has another process answer a request; its client going away ends it there too.

    Raises:
        HolderGone: nobody listens there; nothing was read and nothing sent.
        Unavailable: it died before it answered; what was asked may have been done.
    """
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_unix(address)
    except (OSError, TimeoutError) as error:
        raise HolderGone from error
    async with stream, together() as tasks:
        exchange = _Exchange(stream, send)
        tasks.start_soon(exchange.ask, scope, receive, tasks.cancel_scope)
        await exchange.answer()
        tasks.cancel_scope.cancel()


def target_of(scope: Scope) -> bytes:
    """Returns path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + (b"?" + query if query else b"")


class _Exchange:
    def __init__(self, stream: ByteStream, send: Send) -> None:
        self._stream = stream
        self._send = send
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._begun = False

    async def ask(self, scope: Scope, receive: Receive, whole: anyio.CancelScope) -> None:
        """Sends the request, then waits for its client to go away."""
        request = h11.Request(method=scope["method"], target=target_of(scope), headers=_inward(scope))
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send(self._h11.send(request) or b"")
        while (message := await receive())["type"] == "http.request":
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, h11.LocalProtocolError):
                await self._pass(message)
        whole.cancel()

    async def _pass(self, message: Message) -> None:
        if body := message.get("body"):
            await self._stream.send(self._h11.send(h11.Data(data=body)) or b"")
        if not message.get("more_body") and self._h11.our_state is h11.SEND_BODY:
            await self._stream.send(self._h11.send(h11.EndOfMessage()) or b"")

    async def answer(self) -> None:
        """Hands the answer on as it comes."""
        try:
            while not isinstance(event := await self._next(), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    self._begun = True
                    headers = end_to_end(event.headers)
                    start = {"type": "http.response.start", "status": event.status_code, "headers": headers}
                    await self._send(start)
                elif isinstance(event, h11.Data):
                    body = {"type": "http.response.body", "body": bytes(event.data), "more_body": True}
                    await self._send(body)
        except (h11.RemoteProtocolError, anyio.BrokenResourceError) as error:
            if not self._begun:
                raise Unavailable(
                    "The process that had this ended before it answered; it may have been done.",
                    retry_after_s=1,
                ) from error
            # Once an answer has begun, all that is left is to break it off.
            raise ConnectionResetError("the process that answered is gone") from error
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> h11.Event:
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                try:
                    self._h11.receive_data(await self._stream.receive(PIECE))
                except anyio.EndOfStream:
                    self._h11.receive_data(b"")
            elif isinstance(event, type):
                raise h11.RemoteProtocolError("more was sent than was asked for")
            else:
                return event


def _inward(scope: Scope) -> list[Header]:
    """The length of a body is kept; one without is chunked, as it was."""
    given: list[Header] = [pair for pair in scope["headers"] if pair[0] != HEADER]
    framing = [pair for pair in given if pair[0] in {b"transfer-encoding", b"expect"}]
    kept = [pair for pair in framing if pair[0] == b"transfer-encoding"]
    passed = end_to_end(given, without=(b"expect",))
    return [*passed, *kept, (b"connection", b"close"), Hop.of(scope).header()]
