"""What one process tells another of a request that it hands on, and how that is believed.

Only the socket in the data directory leads to `InnerDoor`, and only the server's own user can connect there.
The same header on a request that came by any other way is nothing but a header.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from lm_sandbox.sandboxes.proxying.http_wire import Header

HEADER = b"x-lm-sandbox-hop"
KEY = "lm_sandbox.hop"


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a request came in.

    Attributes:
        client: Address and port of the client.
        server: Address and port that it called.
        scheme: Such as `https`.
    """

    client: Sequence[object] | None
    server: Sequence[object] | None
    scheme: str

    @classmethod
    def of(cls, scope: Scope) -> "Hop":
        """Describes a request."""
        return cls(scope.get("client"), scope.get("server"), scope["scheme"])

    def header(self) -> Header:
        """Writes it."""
        return HEADER, json.dumps(asdict(self)).encode()


class InnerDoor:
    """ASGI: the way in for other processes of this server.

    Args:
        app: The whole app, which looks at the caller's own credentials as for any other request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Puts back what the hop has taken."""
        told = next(value for name, value in scope["headers"] if name == HEADER)
        hop = Hop(**json.loads(told))
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != HEADER]
        scope["client"] = hop.client and tuple(hop.client)
        scope["server"] = hop.server and tuple(hop.server)
        scope["scheme"] = hop.scheme
        scope[KEY] = hop
        await self._app(scope, receive, send)


def was_forwarded(scope: Scope) -> bool:
    """Whether a request has come from another process of this server."""
    return KEY in scope
