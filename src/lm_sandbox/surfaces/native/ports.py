"""HTTP to a server that listens inside a sandbox, by key or by a signed link."""

from datetime import UTC, datetime
from typing import Annotated

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.sandboxes.hosts import HIGHEST_PORT
from lm_sandbox.sandboxes.port_exchange import PortRequest, exchange
from lm_sandbox.sandboxes.port_headers import PortHeaders
from lm_sandbox.sandboxes.proxying.http_wire import Header
from lm_sandbox.sandboxes.proxying.relay import together
from lm_sandbox.surfaces.deps import Deps, SandboxCaller, Services
from lm_sandbox.surfaces.errors import failure_of, problem, raw_route_class, route_class
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.native.port_place import PortPlace, by_key, place_of_link
from lm_sandbox.surfaces.native.schemas import Body

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
LONGEST_LINK_S = 86_400.0
PIECES_AT_ONCE = 1

Port = Annotated[int, Path(ge=1, le=HIGHEST_PORT)]

LINKS = APIRouter(prefix="/v1/sandboxes", tags=["network"], route_class=route_class(problem))
RELAYS = APIRouter(include_in_schema=False, route_class=raw_route_class(problem))


class LinkCreate(Body):
    """Which port, and for how long."""

    port: int = Field(ge=1, le=HIGHEST_PORT)
    expires_s: float = Field(3600.0, gt=0, le=LONGEST_LINK_S, description="in seconds; a day at most")


class LinkOut(BaseModel):
    """A link; whoever has it can use the port until it is over."""

    url: str
    expires_at: datetime


@LINKS.post("/{sandbox_id}/port-links", status_code=201)
async def make_link(
    sandbox_id: str, body: LinkCreate, caller: SandboxCaller, deps: Deps, request: Request
) -> LinkOut:
    """Makes a link to a port that needs no key."""
    sandbox = deps.sandboxes.get(caller, sandbox_id)
    token, expires_at = deps.links.sign(sandbox.owner, sandbox.id, body.port, body.expires_s)
    url = request.url_for("use_link", token=token, path="")
    return LinkOut(url=str(url), expires_at=datetime.fromtimestamp(expires_at, UTC))


async def place_of(sandbox_id: str, port: Port, caller: SandboxCaller) -> PortPlace:
    """Tells which port a path names."""
    return by_key(caller, sandbox_id, port)


@RELAYS.api_route("/v1/sandboxes/{sandbox_id}/ports/{port}/{path:path}", methods=METHODS)
async def use_port(place: Annotated[PortPlace, Depends(place_of)], deps: Deps, request: Request) -> Response:
    """Passes a request on to a server inside."""
    return PortResponse(deps, place, request)


@RELAYS.api_route("/v1/port-links/{token}/{path:path}", methods=METHODS)
async def use_link(token: str, deps: Deps, request: Request) -> Response:
    """Passes a request on to the server that the link leads to."""
    place = await place_of_link(deps, token)
    exchange_of(request).principal = place.caller
    return PortResponse(deps, place, request)


class PortResponse(Response):
    """Asks the server inside, and hands its answer on as it comes.

    Args:
        services: Those of the app.
        place: Which server, and for whom.
        request: What is asked.
    """

    def __init__(self, services: Services, place: PortPlace, request: Request) -> None:
        self._services = services
        self._place = place
        self._request = request
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        answer = _Answer(send)
        try:
            await self._ask(scope, receive, answer)
        except LmSandboxError as error:
            # Once an answer has begun, all that is left is to break it off.
            if not answer.begun:
                await problem(failure_of(error))(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        place = self._place
        asked = PortRequest(self._request.method, place.target(scope), tuple(self._request.headers.raw))
        headers = PortHeaders(place.sandbox, place.port, place.prefix)
        pieces, body = anyio.create_memory_object_stream[bytes](PIECES_AT_ONCE)
        connection = self._services.ports.connect(place.caller, place.sandbox, place.port)
        async with pieces, body, connection as sock, together() as tasks:
            tasks.start_soon(_read, receive, pieces, tasks.cancel_scope)
            await exchange(sock, asked, headers, body, answer)
            await answer.end()
            tasks.cancel_scope.cancel()


class _Answer:
    """Writes an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def begin(self, status: int, headers: list[Header]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read(receive: Receive, pieces: MemoryObjectSendStream[bytes], scope: anyio.CancelScope) -> None:
    """Reads the body of a request, then waits for the client to go away."""
    async with pieces:
        while (message := await receive())["type"] == "http.request":
            try:
                if message.get("body"):
                    await pieces.send(message["body"])
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue  # The server inside wants no more of it.
            if not message.get("more_body"):
                await pieces.aclose()
    scope.cancel()
