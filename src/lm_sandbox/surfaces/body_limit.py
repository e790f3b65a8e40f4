"""Refuses request bodies that are too large, before they are read into memory."""

import re
from collections.abc import Sequence

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lm_sandbox.surfaces.errors import Failure, problem


class BodyLimit:
    """ASGI middleware.

    Args:
        app: What is behind it.
        max_bytes: The largest body.
        streamed: Paths whose bodies never stand in memory, and which have bounds of their own.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, streamed: Sequence[re.Pattern[str]]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or self._is_streamed(scope):
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await problem(Failure(413, "too_large", self._message()))(scope, receive, send)
            return
        left = self._max_bytes

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, self._message())
            return message

        await self._app(scope, counted, send)

    def _is_streamed(self, scope: Scope) -> bool:
        return scope["method"] == "PUT" and any(one.fullmatch(scope["path"]) for one in self._streamed)

    def _message(self) -> str:
        return f"The request body is over {self._max_bytes} bytes."
