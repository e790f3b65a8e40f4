"""What routes ask for: the services, and the caller with a scope, as annotated types."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection
from starlette.types import Scope as Connection

from lm_sandbox.agent.background import BackgroundRuns
from lm_sandbox.agent.conversation_store import ConversationStore
from lm_sandbox.agent.conversations import Conversations
from lm_sandbox.agent.loop import AgentLoop
from lm_sandbox.agent.run_store import RunStore
from lm_sandbox.agent.uploads import Uploads
from lm_sandbox.audit.log import AuditLog
from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.gate import Gate, Visit
from lm_sandbox.identity.issuers import Issuers
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.logins import Logins
from lm_sandbox.identity.port_links import PortLinks
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.identity.sign_in import SignIn
from lm_sandbox.identity.tokens import Tokens
from lm_sandbox.identity.users import Users
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.sandboxes.images import Images
from lm_sandbox.sandboxes.ports import Ports
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.shells import Shells
from lm_sandbox.sandboxes.snapshots import Snapshots
from lm_sandbox.sandboxes.terminals import Terminals
from lm_sandbox.sandboxes.volumes import Volumes
from lm_sandbox.storage.servers import Servers
from lm_sandbox.surfaces.exchange import ASKED_BYTES, exchange_of
from lm_sandbox.surfaces.mcp.endpoint import McpEndpoint
from lm_sandbox.surfaces.origins import Origins
from lm_sandbox.telemetry.happenings import Tell
from lm_sandbox.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes may call, made once by the app."""

    keys: KeyStore
    users: Users
    logins: Logins
    sign_in: SignIn
    issuers: Issuers
    gate: Gate
    tokens: Tokens
    shares: Shares
    sandboxes: SandboxService
    snapshots: Snapshots
    volumes: Volumes
    images: Images
    models: ModelRegistry
    chat: ChatClient
    agent: AgentLoop
    conversations: Conversations
    kept_conversations: ConversationStore
    runs: RunStore
    background: BackgroundRuns
    uploads: Uploads
    links: PortLinks
    ports: Ports
    shells: Shells
    terminals: Terminals
    origins: Origins
    audit: AuditLog
    tell: Tell
    metrics: Metrics
    mcp: McpEndpoint
    servers: Servers


def get_services(connection: HTTPConnection) -> Services:
    """Finds the services that the app has put up."""
    return services_of(connection.scope)


def services_of(scope: Connection) -> Services:
    """Finds the services of the app that a connection is for."""
    services = scope["app"].state.services
    if not isinstance(services, Services):
        raise TypeError("the app has not been started")
    return services


async def provide_services(connection: HTTPConnection) -> Services:
    """Gives routes the services; what is not async would go through a thread."""
    return get_services(connection)


Deps = Annotated[Services, Depends(provide_services)]
VISIT = "lm_sandbox.visit"
BEARER = HTTPBearer(
    auto_error=False, description="An API key, as printed at the first start, or a token of /oauth/token."
)


async def get_principal(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Principal:
    """Tells who calls, by `Authorization: Bearer` or `x-api-key`.

    Raises:
        Unauthenticated: neither header is there, or the key is no one's.
    """
    del bearer  # It is there for the documentation of the API.
    return await authenticate(request)


async def authenticate(connection: HTTPConnection) -> Principal:
    """Tells who calls, and finds it out once for each request; raises as `get_principal` does."""
    return visit_of(connection).caller or await principal_of(connection, get_services(connection))


def visit_of(connection: HTTPConnection) -> Visit:
    """Returns what the doorway has noted of a request."""
    visit: Visit = connection.scope[VISIT]
    return visit


def asks_who_calls(dependant: Dependant) -> bool:
    """Whether a route is for callers with a key only."""
    return dependant.call is get_principal or any(map(asks_who_calls, dependant.dependencies))


async def principal_of(connection: HTTPConnection, services: Services) -> Principal:
    """Tells who is at the other end of a request or a WebSocket; raises as `get_principal` does."""
    scheme, credentials = get_authorization_scheme_param(connection.headers.get("authorization"))
    token = credentials if scheme.lower() == "bearer" else connection.headers.get("x-api-key")
    if not token:
        raise Unauthenticated(
            "A key or a token is needed: send the header 'Authorization: Bearer KEY'. "
            "The key is printed at the first start; 'lm-sandbox keys show' prints it again."
        )
    principal = await services.gate.enter(visit_of(connection), token)
    exchange_of(connection).principal = principal
    return principal


def _with(scope: Scope) -> Callable[[Request, Principal], Awaitable[Principal]]:
    async def check(request: Request, principal: Annotated[Principal, Depends(get_principal)]) -> Principal:
        exchange_of(request).scope = scope.value
        principal.require(scope)
        return principal

    return check


async def unread_admin_of(
    services: Deps, principal: Annotated[Principal, Depends(_with(Scope.ADMIN))]
) -> Principal:
    """Lets an admin go on, as long as what it changes can be recorded; the body is not, for it has secrets.

    Raises:
        Forbidden: the principal is none.
        AuditUnavailable: nothing can be recorded at present.
    """
    services.audit.require()
    return principal


async def admin_of(request: Request, principal: Annotated[Principal, Depends(unread_admin_of)]) -> Principal:
    """Does as `unread_admin_of`, and has the body recorded."""
    length = request.headers.get("content-length", "")
    # What is streamed is not for here, and not for memory.
    if length.isdigit() and int(length) <= ASKED_BYTES:
        exchange_of(request).asked = (await request.body()).decode(errors="replace")
    return principal


ModelCaller = Annotated[Principal, Depends(_with(Scope.MODELS))]
SandboxCaller = Annotated[Principal, Depends(_with(Scope.SANDBOXES))]
FileCaller = Annotated[Principal, Depends(_with(Scope.FILES))]
AnyCaller = Annotated[Principal, Depends(get_principal)]
AdminCaller = Annotated[Principal, Depends(admin_of)]
# For bodies with secrets: the route itself says what of them is recorded.
UnreadAdminCaller = Annotated[Principal, Depends(unread_admin_of)]
