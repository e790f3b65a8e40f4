"""One WebSocket to a server inside a sandbox."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from lm_sandbox.errors import Unreachable
from lm_sandbox.sandboxes.port_headers import PortHeaders
from lm_sandbox.sandboxes.proxying.http_wire import Header

LARGEST_MESSAGE = 4 * 1024 * 1024
OPEN_S = 10.0


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """A WebSocket as a caller asks for it.

    Attributes:
        target: Path and query, as the server inside is to see them.
        headers: As they came.
        subprotocols: Those that the caller offers.
    """

    target: bytes
    headers: tuple[Header, ...]
    subprotocols: Sequence[str]


@asynccontextmanager
async def open_socket(
    sock: socket.socket, request: SocketRequest, headers: PortHeaders
) -> AsyncIterator[ClientConnection]:
    """Opens a WebSocket over a connection to the server inside.

    Raises:
        Unreachable: it does not answer as a WebSocket server does.
    """
    offered = [Subprotocol(name) for name in request.subprotocols]
    try:
        opened = await connect(
            f"ws://{headers.host.decode()}{request.target.decode('latin-1')}",
            sock=sock,
            additional_headers=headers.for_socket(request.headers),
            subprotocols=offered or None,
            compression=None,
            proxy=None,
            max_size=LARGEST_MESSAGE,
            open_timeout=OPEN_S,
            user_agent_header=None,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        raise Unreachable("The server in the sandbox takes no WebSocket there.") from error
    async with opened:
        yield opened
