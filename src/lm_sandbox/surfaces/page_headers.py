"""Headers that keep browsers from making more of an answer than it is."""

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]

ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
CLOSED: tuple[Header, ...] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
# The page of the documentation has a script of its own in it, and asks this server.
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
PAGE: tuple[Header, ...] = ((b"content-security-policy", PAGE_POLICY), (b"x-frame-options", b"DENY"))
TLS: tuple[Header, ...] = ((b"strict-transport-security", b"max-age=31536000"),)
# Servers inside sandboxes, whose pages are shut up in their own way.
INSIDE = re.compile(r"/v1/(port-links/|sandboxes/[^/]+/ports/)")


class PageHeaders:
    """ASGI middleware; what an answer says itself stays.

    Args:
        app: What is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        more = headers_for(scope["path"], scope["scheme"])

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message.get("headers", ()))
                names = {name for name, _ in said}
                message["headers"] = said + [header for header in more if header[0] not in names]
            await send(message)

        await self._app(scope, receive, tell)


def headers_for(path: str, scheme: str) -> Sequence[Header]:
    """Returns what an answer from a path is to have."""
    secure = TLS if scheme == "https" else ()
    if INSIDE.match(path):
        return (*ALWAYS, *secure)
    if path == "/docs" or path.startswith("/docs/"):
        return (*ALWAYS, *PAGE, *secure)
    return (*ALWAYS, *CLOSED, *secure)
