"""Refuses request bodies that are too large, before they are read into memory."""

import re
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lm_sandbox.surfaces.errors import Failure, problem


class BodyLimit:
    """ASGI middleware.

    Args:
        app: What is behind it.
        max_bytes: The largest body.
        others: Those of `METHOD /path` that have another bound, or, with None, bound themselves.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, others: Mapping[re.Pattern[str], int | None]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        most = self._most(scope) if scope["type"] == "http" else None
        if most is None:
            await self._app(scope, receive, send)
            return
        message = f"The request body is over {most} bytes."
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await problem(Failure(413, "too_large", message))(scope, receive, send)
            return
        left = most

        async def counted() -> Message:
            nonlocal left
            received = await receive()
            left -= len(received.get("body", b""))
            if left < 0:
                raise HTTPException(413, message)
            return received

        await self._app(scope, counted, send)

    def _most(self, scope: Scope) -> int | None:
        asked = f"{scope['method']} {scope['path']}"
        for pattern, most in self._others.items():
            if pattern.fullmatch(asked):
                return most
        return self._max_bytes
