"""Refuses heads of requests that are too large, or that two programs could read in two ways."""

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from lm_sandbox.surfaces.errors import Failure, problem

# A path of a file may have 4096 bytes, each written with three.
MOST_BYTES = 32 * 1024
MOST_FIELDS = 100
# Where one is there twice, a proxy in front may go by another one than this server.
ONCE = (b"authorization", b"x-api-key", b"content-length", b"transfer-encoding", b"host")

TOO_LARGE = Failure(
    431, "too_large", f"The head of a request may have {MOST_FIELDS} fields and {MOST_BYTES} bytes."
)


class HeadLimit:
    """ASGI middleware.

    Args:
        app: What is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        failure = None if scope["type"] == "lifespan" else refusal(scope)
        if failure is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(problem(failure))
        else:
            await problem(failure)(scope, receive, send)


def refusal(scope: Scope) -> Failure | None:
    """Tells what is wrong with the head of a request; None where nothing is."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if len(headers) > MOST_FIELDS or size + sum(len(n) + len(v) for n, v in headers) > MOST_BYTES:
        return TOO_LARGE
    names = [name for name, _ in headers]
    for name in ONCE:
        if name in names and names.count(name) > 1:
            return _ambiguous(f"The header {name.decode()!r} is there more than once.")
    if b"transfer-encoding" in names and b"content-length" in names:
        return _ambiguous("The length of the body is told in two ways.")
    return None


def _ambiguous(message: str) -> Failure:
    # What follows on this connection may be meant as another request: nothing of it is read.
    return Failure(400, "invalid_request", message, headers={"Connection": "close"})
