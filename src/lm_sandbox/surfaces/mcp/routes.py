"""/mcp: MCP over streamable HTTP, and what its authorization part says of keys.

Source: modelcontextprotocol.io, revisions 2026-07-28 and 2025-11-25, "Streamable HTTP" and "Authorization";
RFC 9728.
"""

import re
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from lm_sandbox.errors import Invalid
from lm_sandbox.identity.principals import Scope
from lm_sandbox.storage.servers import HeldElsewhere
from lm_sandbox.surfaces.deps import Deps, Services, principal_of
from lm_sandbox.surfaces.errors import Failure, Handler, failure_of
from lm_sandbox.surfaces.forwarding.hop import was_forwarded
from lm_sandbox.surfaces.mcp.caller import Caller
from lm_sandbox.surfaces.mcp.places import again, marked, require_here, unmarked
from lm_sandbox.surfaces.protected_resource import METADATA, base_url, describe

COOKIE = "lm-sandbox-mcp"
SESSION = "mcp-session-id"
PINNED = "lm-sandbox-name"
NAME = re.compile(r"\w[\w .:@-]{0,127}")
# JSON-RPC leaves these numbers to servers.
REFUSED = -32001
UNAUTHENTICATED = 401
FORBIDDEN = 403


class McpRoute(APIRoute):
    """Writes errors as JSON-RPC, which clients show, and tells where the metadata about keys is."""

    def get_route_handler(self) -> Handler:
        handle: Handler = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except HeldElsewhere as error:
                # For the edge, which hands the request on; one that came from there was refused by all.
                if not was_forwarded(request.scope):
                    raise
                return refusal(request, failure_of(error))
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes an answer
                return refusal(request, failure_of(error))

        return handler


ROUTER = APIRouter(tags=["mcp"], route_class=McpRoute)


async def get_caller(request: Request, services: Deps) -> Caller:
    """Tells who calls, and in which conversation.

    Raises:
        Unauthenticated: no key, or no one's.
        Forbidden: the key lacks the scope, or a web page of another origin has sent this.
        Invalid: the name of the pinned sandbox is none.
    """
    services.origins.check_host(request)
    services.origins.check(request)
    principal = await principal_of(request, services)
    principal.require(Scope.SANDBOXES)
    pinned = request.headers.get(PINNED)
    if pinned is not None and not NAME.fullmatch(pinned):
        raise Invalid(f"The header {PINNED} has no name of a sandbox.", field=PINNED)
    return Caller(principal, _session(request), pinned)


McpCaller = Annotated[Caller, Depends(get_caller)]


@ROUTER.post("/mcp", response_class=Response)
async def post_message(caller: McpCaller, deps: Deps, request: Request) -> Response:
    """Takes one message of the protocol; the answer comes as JSON or as server-sent events."""
    receive: Receive | None = None
    if deps.servers.others():
        body = await request.body()
        await require_here(deps, caller, body)
        receive = again(body, request.receive)
    greeted = request.headers.get("mcp-method") == "server/discover" and caller.session is None
    cookie = secrets.token_urlsafe(16) if greeted else None
    return EndpointResponse(deps, caller, receive=receive, cookie=cookie)


@ROUTER.get("/mcp", response_class=Response)
async def follow_session(caller: McpCaller, deps: Deps) -> Response:
    """Follows what the server says outside of answers, in a session of revisions up to 2025-11-25."""
    await require_here(deps, caller)
    return EndpointResponse(deps, caller)


@ROUTER.delete("/mcp", response_class=Response)
async def end_session(caller: McpCaller, deps: Deps) -> Response:
    """Ends a session of revisions up to 2025-11-25, and deletes its sandbox."""
    await require_here(deps, caller)
    return EndpointResponse(deps, caller, ends=True)


@ROUTER.get(f"{METADATA}/mcp", include_in_schema=False)
async def protected_resource(request: Request, deps: Deps) -> JSONResponse:
    """Says how `/mcp` is protected (RFC 9728): by keys and tokens, and who issues these."""
    base = base_url(request)
    told = describe(f"{base}/mcp", base, [Scope.SANDBOXES.value], deps.tokens.issuer, deps.issuers.addresses)
    return JSONResponse(told, headers={"Access-Control-Allow-Origin": "*"})


class EndpointResponse(Response):
    """Hands the connection to the endpoint.

    Args:
        services: Those of the app.
        caller: Who has asked.
        receive: Gives the body, where it was read before.
        cookie: Told to a client that has just come, to be known by from then on.
        ends: Whether the session ends by this.
    """

    def __init__(
        self,
        services: Services,
        caller: Caller,
        *,
        receive: Receive | None = None,
        cookie: str | None = None,
        ends: bool = False,
    ) -> None:
        super().__init__()
        self._endpoint = services.mcp
        self._server = services.servers.name
        self._receive = receive
        self._caller = caller
        self._cookie = cookie
        self._ends = ends

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 300:  # noqa: PLR2004
                    await self._end()
                message = self._with_cookie(self._with_mark(message))
            await send(message)

        asked = {**scope, "headers": [_without_mark(pair) for pair in scope["headers"]]}
        await self._endpoint.answer(self._caller, asked, self._receive or receive, sending)

    async def _end(self) -> None:
        """Deletes what a session had, before its client is told that it has ended."""
        if self._ends and self._caller.session is not None:
            await self._endpoint.sandboxes.end(self._caller.principal, self._caller.session)

    def _with_mark(self, message: Message) -> Message:
        headers = [
            (name, marked(value, self._server) if name.lower() == SESSION.encode() else value)
            for name, value in message["headers"]
        ]
        return {**message, "headers": headers}

    def _with_cookie(self, message: Message) -> Message:
        if self._cookie is None:
            return message
        value = f"{COOKIE}={self._cookie}; Path=/mcp; HttpOnly; SameSite=Strict"
        return {**message, "headers": [*message["headers"], (b"set-cookie", value.encode())]}


def refusal(request: Request, failure: Failure) -> Response:
    """Writes an error as JSON-RPC, with the challenge of RFC 9728 where another key would help."""
    headers = dict(failure.headers)
    if failure.status in {UNAUTHENTICATED, FORBIDDEN} and failure.code != "egress_denied":
        headers["WWW-Authenticate"] = _challenge(request, failure)
    told = {"code": REFUSED, "message": failure.message, "data": {"code": failure.code}}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": told}, failure.status, headers)


def _challenge(request: Request, failure: Failure) -> str:
    parts = [f'resource_metadata="{base_url(request)}{METADATA}/mcp"', f'scope="{Scope.SANDBOXES.value}"']
    if failure.status == FORBIDDEN:
        parts.insert(0, 'error="insufficient_scope"')
    elif "authorization" in request.headers:
        parts.insert(0, 'error="invalid_token"')
    return f"Bearer {', '.join(parts)}"


def _without_mark(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return (pair[0], unmarked(pair[1])) if pair[0] == SESSION.encode() else pair


def _session(request: Request) -> str | None:
    for kind, value in (("session", request.headers.get(SESSION)), ("cookie", request.cookies.get(COOKIE))):
        if value:
            return f"{kind}\0{value}"
    return None
