"""A terminal over a WebSocket: binary messages are its bytes, text messages are JSON about it.

The client types and sends `resize` and `signal`; the server shows and sends `attached`, `replay`,
`resized`, `exit` and `error`. After `exit` it closes with 1000, after an end that is none of the
program's own with 1011.
"""

from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel
from starlette.websockets import WebSocketState

from lm_sandbox.errors import Forbidden, Invalid, LmSandboxError
from lm_sandbox.sandboxes.proxying.relay import together
from lm_sandbox.sandboxes.terminal_book import (
    Ended,
    LiveTerminal,
    Replayed,
    Resized,
    Shown,
    TerminalEvent,
)
from lm_sandbox.surfaces.deps import get_services
from lm_sandbox.surfaces.native.terminal_schemas import (
    Attached,
    ErrorOut,
    ExitOut,
    Replay,
    ResizedOut,
    Signal,
    name_of,
    read_control,
)
from lm_sandbox.surfaces.web_sockets import caller_of, told

ROUTER = APIRouter()
SUBPROTOCOL = "lm-sandbox.terminal"
NORMAL, FAILED = 1000, 1011
TRUTH = {None: False, "": True, "true": True, "1": True, "false": False, "0": False}


@ROUTER.websocket("/v1/sandboxes/{sandbox_id}/terminals/{terminal_id}/ws")
async def attach(websocket: WebSocket, sandbox_id: str, terminal_id: str) -> None:
    """Shows a terminal from its scroll-back on; with `?view=true` only shows it."""
    services = get_services(websocket)
    async with told(websocket):
        services.origins.check(websocket)
        caller = await caller_of(websocket, services)
        view = _flag(websocket, "view")
        with services.terminals.attend(caller, sandbox_id, terminal_id) as terminal:
            offered = websocket.scope["subprotocols"]
            await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
            await _relay(websocket, terminal, view=view)


def _flag(websocket: WebSocket, name: str) -> bool:
    text = websocket.query_params.get(name)
    if text not in TRUTH:
        raise Invalid(f"{name} is 'true' or 'false'.", field=name)
    return TRUTH[text]


async def _relay(websocket: WebSocket, terminal: LiveTerminal, *, view: bool) -> None:
    async with together() as tasks:

        async def listen() -> None:
            with suppress(WebSocketDisconnect):
                await _inward(websocket, terminal, view=view)
            tasks.cancel_scope.cancel()

        tasks.start_soon(listen)
        await _outward(websocket, terminal, view=view)
        tasks.cancel_scope.cancel()


async def _outward(websocket: WebSocket, terminal: LiveTerminal, *, view: bool) -> None:
    with suppress(WebSocketDisconnect):
        size = terminal.size
        attached = Attached(id=terminal.id, rows=size.rows, columns=size.columns, view=view)
        await _say(websocket, attached)
        try:
            async for event in terminal.follow():
                await _show(websocket, event)
        except LmSandboxError as error:
            await _say(websocket, ErrorOut.of(error))
            await websocket.close(FAILED, "the terminal has failed")
        else:
            await websocket.close(NORMAL, "the program has ended")


async def _show(websocket: WebSocket, event: TerminalEvent) -> None:
    match event:
        case Shown(data):
            await websocket.send_bytes(data)
        case Replayed(size):
            await _say(websocket, Replay(rows=size.rows, columns=size.columns))
        case Resized(size):
            await _say(websocket, ResizedOut(rows=size.rows, columns=size.columns))
        case Ended(exited):
            signal = None if exited.signal is None else name_of(exited.signal)
            limits = sorted(exited.limits)
            await _say(websocket, ExitOut(exit_code=exited.code, signal=signal, limits=limits))


async def _inward(websocket: WebSocket, terminal: LiveTerminal, *, view: bool) -> None:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        try:
            if view:
                raise Forbidden("This connection only views the terminal; connect without 'view' to use it.")
            text = message.get("text")
            if text is None:
                await terminal.feed(message["bytes"])
            else:
                await _obey(terminal, text)
        except LmSandboxError as error:
            await _say(websocket, ErrorOut.of(error))


async def _obey(terminal: LiveTerminal, text: str) -> None:
    control = read_control(text)
    if isinstance(control, Signal):
        await terminal.signal(control.number())
    else:
        await terminal.resize(control.to_size())


async def _say(websocket: WebSocket, message: BaseModel) -> None:
    if websocket.application_state is WebSocketState.CONNECTED:
        await websocket.send_text(message.model_dump_json())
