"""WebSockets to a server that listens inside a sandbox, by key or by a signed link."""

from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.types import Message
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.hosts import HIGHEST_PORT
from lm_sandbox.sandboxes.port_headers import PortHeaders
from lm_sandbox.sandboxes.port_socket import SocketRequest, open_socket
from lm_sandbox.sandboxes.proxying.relay import together
from lm_sandbox.surfaces.deps import Services, get_services, principal_of
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.native.port_place import PortPlace, by_key, place_of_link
from lm_sandbox.surfaces.web_sockets import told

ROUTER = APIRouter()
NORMAL, GOING_AWAY = 1000, 1001
# What an endpoint may not send, though it is told it.
UNSPOKEN = frozenset({1005, 1006, 1015})


@ROUTER.websocket("/v1/sandboxes/{sandbox_id}/ports/{port}/{path:path}")
async def use_port(websocket: WebSocket, sandbox_id: str, port: str, path: str) -> None:
    """Passes a WebSocket on to a server inside."""
    del path
    services = get_services(websocket)
    async with told(websocket):
        caller = await principal_of(websocket, services)
        await _relay(websocket, services, by_key(caller, sandbox_id, _port(port)))


@ROUTER.websocket("/v1/port-links/{token}/{path:path}")
async def use_link(websocket: WebSocket, token: str, path: str) -> None:
    """Passes a WebSocket on to the server that the link leads to."""
    del path
    services = get_services(websocket)
    async with told(websocket):
        place = await place_of_link(services, token)
        exchange_of(websocket).principal = place.caller
        await _relay(websocket, services, place)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(HIGHEST_PORT)):
        number = int(text)
        if 0 < number <= HIGHEST_PORT:
            return number
    raise Invalid(f"{text!r} is no port.", field="port")


async def _relay(websocket: WebSocket, services: Services, place: PortPlace) -> None:
    headers = PortHeaders(place.sandbox, place.port, place.prefix)
    asked = SocketRequest(
        place.target(websocket.scope), tuple(websocket.headers.raw), websocket.scope["subprotocols"]
    )
    connection = services.ports.connect(place.caller, place.sandbox, place.port)
    async with connection as sock, open_socket(sock, asked, headers) as inside:
        await websocket.accept(subprotocol=inside.subprotocol)
        async with together() as tasks:
            tasks.start_soon(_outward, inside, websocket)
            await _inward(websocket, inside)
            tasks.cancel_scope.cancel()


async def _inward(websocket: WebSocket, inside: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while (message := await websocket.receive())["type"] == "websocket.receive":
            await inside.send(_content(message))


async def _outward(inside: ClientConnection, websocket: WebSocket) -> None:
    with suppress(WebSocketDisconnect):
        with suppress(ConnectionClosed):
            async for message in inside:
                if isinstance(message, str):
                    await websocket.send_text(message)
                else:
                    await websocket.send_bytes(message)
        code = inside.close_code or NORMAL
        await websocket.close(GOING_AWAY if code in UNSPOKEN else code)


def _content(message: Message) -> str | bytes:
    text: str | None = message.get("text")
    return message["bytes"] if text is None else text
