"""HTTP/1.1 on a byte stream, both sides of it, parsed and written anew by h11.

What goes on is never the bytes that came: one reading of a message, ours, is what the next one sees.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import anyio
import h11
from anyio.abc import ByteStream

from lm_sandbox.errors import Invalid, Unreachable

PIECE = 64 * 1024
LARGEST_HEAD = 64 * 1024
# A client may be slow to ask, a server to answer; neither for ever.
REQUEST_S, ANSWER_S = 60.0, 600.0
# One connection's own business, never passed on.
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection",
        b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
Header = tuple[bytes, bytes]


class ClientSide:
    """The side that a client has connected to.

    Args:
        stream: The connection.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)

    async def request(self) -> h11.Request | None:
        """Waits for the next request; None when the client has none any more.

        Raises:
            Invalid: it is not well formed, or its length is told in two ways.
        """
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        if self._h11.our_state is not h11.IDLE:
            return None
        event = await self._next()
        if isinstance(event, h11.ConnectionClosed):
            return None
        if not isinstance(event, h11.Request):
            raise Invalid("The request is not well formed.")
        names = [name for name, _ in event.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            raise Invalid("The request tells its length in two ways.")
        return event

    async def body(self) -> AsyncGenerator[bytes]:
        """Yields the body of the request, piece by piece."""
        if self._h11.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while self._h11.their_state is h11.SEND_BODY:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    @property
    def answered(self) -> bool:
        """Whether an answer has begun."""
        return self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}

    async def answer(self, status: int, text: str, headers: Iterable[Header] = ()) -> None:
        """Sends a short answer of our own and says that the connection ends."""
        body = text.encode()
        own = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await self.begin(status, [*own, *headers])
        await self.send(body)
        await self.end()

    async def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Sends the head of an answer."""
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def send(self, piece: bytes) -> None:
        """Sends a piece of its body."""
        await self._send(h11.Data(data=piece))

    async def end(self) -> None:
        """Ends it."""
        await self._send(h11.EndOfMessage())

    async def switch(self) -> bytes:
        """Agrees to a CONNECT; returns what the client has sent after it already."""
        while self._h11.their_state is h11.SEND_BODY:
            await self._next()
        await self._send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        return self._h11.trailing_data[0]

    async def _next(self) -> h11.Event:
        try:
            with anyio.fail_after(REQUEST_S):
                return await _next_event(self._h11, self._stream)
        except h11.RemoteProtocolError as error:
            raise Invalid(f"The request is not well formed: {error}.") from error
        except TimeoutError as error:
            raise Invalid("The request did not come in time.") from error

    async def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            await self._stream.send(data)


class ServerSide:
    """A connection to a server, for one request.

    Args:
        stream: The connection.
        name: How the server is called in messages.
    """

    def __init__(self, stream: ByteStream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)

    async def send(self, request: h11.Request, body: AsyncIterator[bytes]) -> None:
        """Sends the whole request; ends early where the server has gone."""
        try:
            await self._stream.send(self._h11.send(request) or b"")
            async for piece in body:
                await self._stream.send(self._h11.send(h11.Data(data=piece)) or b"")
            await self._stream.send(self._h11.send(h11.EndOfMessage()) or b"")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # It may have answered before it went.

    async def response(self) -> h11.Response:
        """Waits for the head of the answer.

        Raises:
            Unreachable: none comes, or it is not well formed.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise Unreachable(f"{self._name} ended the connection without an answer.")

    async def body(self) -> AsyncGenerator[bytes]:
        """Yields the body of the answer, piece by piece."""
        while self._h11.their_state is h11.SEND_BODY:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next(self) -> h11.Event:
        try:
            with anyio.fail_after(ANSWER_S):
                return await _next_event(self._h11, self._stream)
        except (h11.RemoteProtocolError, anyio.BrokenResourceError) as error:
            raise Unreachable(f"{self._name} does not answer with well-formed HTTP.") from error
        except TimeoutError as error:
            raise Unreachable(f"{self._name} does not answer in time.", status=504) from error


def end_to_end(headers: Iterable[Header], *, without: Iterable[bytes] = ()) -> list[Header]:
    """Returns the headers that may be passed on: none of one connection, none that it names itself."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower() for name, value in pairs if name == b"connection" for word in value.split(b",")
    }
    left_out = HOP_BY_HOP | named | set(without)
    return [(name, value) for name, value in pairs if name not in left_out]


def framing(headers: Iterable[Header]) -> list[Header]:
    """Returns how the body of a request is to be told: the length is kept, anything else is chunked."""
    for name, value in headers:
        if name.lower() == b"transfer-encoding":
            return [(b"transfer-encoding", value)]
    return []


async def _next_event(connection: h11.Connection, stream: ByteStream) -> h11.Event:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive(PIECE))
            except anyio.EndOfStream:
                connection.receive_data(b"")
        elif isinstance(event, type):
            raise h11.RemoteProtocolError("more was sent than was asked for")
        else:
            return event
