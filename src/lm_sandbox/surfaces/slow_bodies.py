"""Gives up on bodies of requests that come too slowly: each holds memory and a connection."""

from collections.abc import Callable
from time import monotonic

import anyio
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE_S = 30.0
LEAST_BYTES_PER_S = 1024


class SlowBodies:
    """ASGI middleware. Time in which this server does not read does not count.

    Args:
        app: What is behind it.
        grace_s: How long a client may be silent, and how much longer it may take than the rate allows.
        clock: Seconds that only go up.
    """

    def __init__(
        self, app: ASGIApp, grace_s: float = GRACE_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self._app = app
        self._grace_s = grace_s
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        waited, size, more = 0.0, 0, True

        async def timed() -> Message:
            nonlocal waited, size, more
            if not more:
                return await receive()
            began = self._clock()
            try:
                with anyio.fail_after(self._grace_s):
                    message = await receive()
            except TimeoutError as error:
                raise _too_slow() from error
            waited += self._clock() - began
            size += len(message.get("body", b""))
            more = bool(message.get("more_body"))
            if more and waited > self._grace_s + size / LEAST_BYTES_PER_S:
                raise _too_slow()
            return message

        await self._app(scope, timed, send)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _too_slow() -> HTTPException:
    return HTTPException(408, "The body of the request came too slowly.", {"Connection": "close"})
