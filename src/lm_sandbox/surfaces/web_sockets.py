"""The handshake of WebSockets: who calls, and how a refusal is told."""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import WebSocket

from lm_sandbox.errors import LmSandboxError, Unauthenticated
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.deps import Services, principal_of, visit_of
from lm_sandbox.surfaces.errors import failure_of, problem
from lm_sandbox.surfaces.exchange import exchange_of

# A browser's page can set no header but this one; the key follows in Base64 for URLs.
BEARER = "bearer."


@asynccontextmanager
async def told(websocket: WebSocket) -> AsyncIterator[None]:
    """Answers the handshake with the problem, where there is one before it is over."""
    try:
        yield
    except LmSandboxError as error:
        failure = failure_of(error)
        exchange_of(websocket).code = failure.code
        await websocket.send_denial_response(problem(failure))


async def caller_of(websocket: WebSocket, services: Services) -> Principal:
    """Tells who opens a WebSocket, by a header or by the subprotocol `bearer.KEY`.

    Raises:
        Unauthenticated: there is no key, or it is no one's.
    """
    for offered in websocket.scope["subprotocols"]:
        if offered.startswith(BEARER):
            token = _decoded(offered.removeprefix(BEARER))
            principal = await services.gate.enter(visit_of(websocket), token)
            exchange_of(websocket).principal = principal
            return principal
    return await principal_of(websocket, services)


def _decoded(text: str) -> str:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (Base64Error, ValueError) as error:
        raise Unauthenticated("What follows 'bearer.' is not a key in Base64 for URLs.") from error
