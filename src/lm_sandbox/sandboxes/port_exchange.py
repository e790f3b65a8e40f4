"""One HTTP request to a server inside a sandbox, streamed both ways."""

import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import h11
from anyio.abc import SocketStream

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.port_headers import PortHeaders
from lm_sandbox.sandboxes.proxying.http_wire import Header, ServerSide, framing
from lm_sandbox.sandboxes.proxying.relay import together


class Answer(Protocol):
    """Takes the answer of a server, as it comes."""

    async def begin(self, status: int, headers: list[Header]) -> None:
        """Takes its status and its headers."""
        ...

    async def send(self, piece: bytes) -> None:
        """Takes a piece of its body."""
        ...


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A request as a caller sends it.

    Attributes:
        method: Such as GET.
        target: Path and query, as the server inside is to see them.
        headers: As they came.
    """

    method: str
    target: bytes
    headers: tuple[Header, ...]

    def head(self, headers: PortHeaders) -> h11.Request:
        """Returns what the server inside gets.

        Raises:
            Invalid: it cannot be sent.
        """
        try:
            return h11.Request(
                method=self.method,
                target=self.target,
                headers=[*headers.inward(self.headers), *framing(self.headers), (b"connection", b"close")],
            )
        except h11.LocalProtocolError as error:
            raise Invalid(f"This request cannot be passed on: {error}.") from error


async def exchange(
    sock: socket.socket,
    request: PortRequest,
    headers: PortHeaders,
    body: AsyncIterator[bytes],
    answer: Answer,
) -> None:
    """Sends a request and hands the answer on, as it comes.

    Args:
        sock: Connected to the server inside; owned from now on.
        request: What is asked.
        headers: What passes of the headers.
        body: The body of the request; when it ends before the answer does, that is well.
        answer: Takes what comes back.

    Raises:
        Invalid: the request cannot be sent.
        Unreachable: no well-formed answer comes.
    """
    head = request.head(headers)
    async with await SocketStream.from_socket(sock) as stream, together() as tasks:
        server = ServerSide(stream, "The server in the sandbox")
        tasks.start_soon(server.send, head, body)
        response = await server.response()
        await answer.begin(response.status_code, headers.outward(response.headers))
        async with aclosing(server.body()) as pieces:
            async for piece in pieces:
                await answer.send(piece)
        tasks.cancel_scope.cancel()
