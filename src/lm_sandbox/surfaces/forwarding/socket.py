"""One WebSocket to another process of this server."""

from contextlib import suppress

from fastapi import Response, WebSocket, WebSocketDisconnect
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from lm_sandbox.errors import Unavailable
from lm_sandbox.sandboxes.proxying.http_wire import Header, end_to_end
from lm_sandbox.sandboxes.proxying.relay import together
from lm_sandbox.surfaces.forwarding.exchange import CONNECT_S, HolderGone, target_of
from lm_sandbox.surfaces.forwarding.hop import HEADER, Hop

LARGEST_MESSAGE = 16 * 1024 * 1024
GOING_AWAY = 1001
# What an endpoint may not send, though it is told it.
UNSPOKEN = frozenset({1005, 1006, 1015})


async def forward_socket(address: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Has another process answer a WebSocket, or refuse it.

    Raises:
        HolderGone: nobody listens there.
        Unavailable: it does not answer as it should.
    """
    websocket = WebSocket(scope, receive, send)
    connection = unix_connect(
        address,
        f"ws://{_host(scope)}{target_of(scope).decode('latin-1')}",
        additional_headers=_inward(scope),
        subprotocols=[Subprotocol(name) for name in scope["subprotocols"]] or None,
        compression=None,
        max_size=LARGEST_MESSAGE,
        open_timeout=CONNECT_S,
        user_agent_header=None,
    )
    try:
        inner = await connection
    except InvalidStatus as refused:
        answer = refused.response
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.raw_items()]
        denial = Response(bytes(answer.body or b""), answer.status_code)
        denial.raw_headers = end_to_end(headers)
        await websocket.send_denial_response(denial)
        return
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise HolderGone from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise Unavailable("The process that has this does not answer.", retry_after_s=1) from error
    async with inner:
        await websocket.accept(inner.subprotocol)
        await _relay(websocket, inner)


async def _relay(websocket: WebSocket, inner: ClientConnection) -> None:
    async with together() as tasks:
        tasks.start_soon(_outward, inner, websocket)
        with suppress(ConnectionClosed):
            while (message := await websocket.receive())["type"] == "websocket.receive":
                await inner.send(_content(message))
        tasks.cancel_scope.cancel()


async def _outward(inner: ClientConnection, websocket: WebSocket) -> None:
    with suppress(WebSocketDisconnect):
        with suppress(ConnectionClosed):
            async for message in inner:
                if isinstance(message, str):
                    await websocket.send_text(message)
                else:
                    await websocket.send_bytes(message)
        code = inner.close_code or GOING_AWAY
        await websocket.close(GOING_AWAY if code in UNSPOKEN else code, inner.close_reason)


def _content(message: Message) -> str | bytes:
    text: str | None = message.get("text")
    return message["bytes"] if text is None else text


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "inner")


def _inward(scope: Scope) -> list[tuple[str, str]]:
    """All but what the handshake writes itself."""
    without = {b"host", HEADER}
    passed: list[Header] = [
        pair
        for pair in end_to_end(scope["headers"], without=without)
        if not pair[0].startswith(b"sec-websocket-")
    ]
    return [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in [*passed, Hop.of(scope).header()]
    ]
