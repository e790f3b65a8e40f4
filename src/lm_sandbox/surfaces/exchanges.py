"""Gives every request its id, and tells of it when it is over; nothing else tells of requests."""

import re
import secrets
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lm_sandbox.errors import AuditUnavailable
from lm_sandbox.surfaces.errors import failure_of, problem
from lm_sandbox.surfaces.exchange import KEY, Exchange
from lm_sandbox.telemetry.happenings import ORIGIN, Origin, RequestEnded
from lm_sandbox.telemetry.places import Place

HEADER = b"x-request-id"
TRACEPARENT = b"traceparent"
# What a client may choose: nothing that could be anything but a name in a log line, a header or a URL.
SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
UNMATCHED = "unmatched"
SERVER_ERROR, CLIENT_GONE = 500, 499
SWITCHING = 101
FORBIDDEN = 403
REFUSED = frozenset({401, FORBIDDEN})


class Exchanges:
    """ASGI middleware, the outermost.

    Args:
        app: What is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        place = Place.of(_traceparent(scope))
        exchange = Exchange(Origin(_request_id(scope), client[0] if client else "", place))
        scope[KEY] = exchange
        answer = _Answer(scope, exchange, send)
        token = ORIGIN.set(exchange.origin)
        try:
            await self._app(scope, receive, answer.send)
        except BaseException as error:
            exchange.status = exchange.status or (
                SERVER_ERROR if isinstance(error, Exception) else CLIENT_GONE
            )
            raise
        finally:
            ORIGIN.reset(token)
            answer.tell()


class _Answer:
    """Puts the id on an answer; one to an admin's change is held back until that is on the disk."""

    def __init__(self, scope: Scope, exchange: Exchange, send: Send) -> None:
        self._scope = scope
        self._exchange = exchange
        self._send = send
        self._refused = False

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            await self._begin(message)
            return
        if message["type"] == "websocket.accept":
            self._exchange.status = SWITCHING
            self._exchange.begun_ms = self._exchange.elapsed_ms()
            message = {**message, "headers": [*message.get("headers", ()), self._header()]}
        elif message["type"] == "websocket.close":
            self._exchange.status = self._exchange.status or FORBIDDEN
        if not self._refused:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        exchange = self._exchange
        exchange.status, exchange.begun_ms = message["status"], exchange.elapsed_ms()
        headers = [*message.get("headers", ()), self._header()]
        if exchange.status not in REFUSED and self._ended().changes_the_server:
            self.tell()
            try:
                await self._scope["app"].state.services.audit.flush()
            except AuditUnavailable as error:
                await self._refuse(error)
                return
        await self._send({**message, "headers": headers})

    async def _refuse(self, error: AuditUnavailable) -> None:
        self._refused = True
        answer = problem(failure_of(error))
        answer.raw_headers.append(self._header())

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        await answer(self._scope, receive, self._send)

    def _header(self) -> tuple[bytes, bytes]:
        return HEADER, self._exchange.origin.request_id.encode()

    def tell(self) -> None:
        """Says that the request is over, once, to whoever listens."""
        services = getattr(self._scope["app"].state, "services", None) if "app" in self._scope else None
        if services is not None and not self._exchange.told:
            self._exchange.told = True
            services.tell(self._ended())

    def _ended(self) -> RequestEnded:
        exchange, scope = self._exchange, self._scope
        principal = exchange.principal
        elapsed = exchange.elapsed_ms()
        return RequestEnded(
            who=principal.id if principal else "",
            name=principal.name if principal else "",
            origin=exchange.origin,
            method="WS" if scope["type"] == "websocket" else scope["method"],
            route=_template(scope),
            parts=_parts(scope),
            status=exchange.status or CLIENT_GONE,
            code=exchange.code,
            duration_ms=elapsed,
            begun_ms=exchange.begun_ms or elapsed,
            scope=exchange.scope,
            asked=exchange.asked,
        )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER and SANE.fullmatch(value):
            return str(value.decode())
    return f"req_{secrets.token_hex(8)}"


def _traceparent(scope: Scope) -> bytes | None:
    found = [value for name, value in scope["headers"] if name == TRACEPARENT]
    return found[0] if len(found) == 1 else None


def _template(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def _parts(scope: Scope) -> Mapping[str, object]:
    parts: Mapping[str, object] = scope.get("path_params") or {}
    return parts
