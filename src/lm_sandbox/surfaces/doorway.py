"""The first thing that a request meets: it is counted by its address, and told what is left."""

import ipaddress
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from lm_sandbox.errors import RateLimited
from lm_sandbox.identity.gate import Visit
from lm_sandbox.identity.rates import Allowance
from lm_sandbox.surfaces.deps import VISIT, services_of
from lm_sandbox.surfaces.errors import failure_of, problem

# What looks after the server asks these, and must get to know how it is.
UNCOUNTED = frozenset({"/healthz", "/readyz"})
# Who has one address of version 6 mostly has all of these.
NETWORK_BITS = 64


class Doorway:
    """ASGI middleware.

    Args:
        app: What is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] == "lifespan" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        visit = scope[VISIT] = Visit(address_of(scope))

        async def tell(message: Message) -> None:
            if message["type"] in STARTS and visit.allowance is not None:
                message["headers"] = [*message.get("headers", ()), *rate_headers(visit.allowance)]
            await send(message)

        try:
            await services_of(scope).gate.arrive(visit)
        except RateLimited as error:
            await _refuse(error, scope, receive, tell)
        else:
            await self._app(scope, receive, tell)


STARTS = frozenset({"http.response.start", "websocket.http.response.start"})


def address_of(scope: Scope) -> str:
    """Names where a request comes from."""
    client = scope.get("client")
    return _network(client[0]) if client else "unknown"


@lru_cache(maxsize=4096)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
    return host


def rate_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """Writes the fields of draft-ietf-httpapi-ratelimit-headers-10."""
    rate = allowance.rate
    name = rate.name.replace(" ", "-")
    return [
        (b"ratelimit-policy", f'"{name}";q={rate.amount};w={rate.seconds}'.encode()),
        (b"ratelimit", f'"{name}";r={max(0, allowance.left)};t={allowance.reset_s}'.encode()),
    ]


async def _refuse(error: RateLimited, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(failure_of(error))
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        await answer(scope, receive, send)
