"""The part of MCP that lives as long as the server: its sessions, and the SDK, loaded when first needed."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from starlette.types import Receive, Scope, Send

from lm_sandbox.agent.conversations import Conversations
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.surfaces.mcp.caller import Caller
from lm_sandbox.surfaces.mcp.commands import CommandTools
from lm_sandbox.surfaces.mcp.files import FileTools
from lm_sandbox.surfaces.mcp.resources import FileResources
from lm_sandbox.surfaces.mcp.sandboxes import CallSandboxes
from lm_sandbox.surfaces.mcp.toolbox import Toolbox

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

MOST_SESSIONS = 1024


class McpEndpoint:
    """Answers the requests to `/mcp` of callers that are known.

    Attributes:
        sandboxes: Tells which sandbox a call is for.
        toolbox: The tools.

    Args:
        service: Sandboxes, with each caller's rights.
        conversations: Remembers which session has which.
        settings: Bounds of what is sent and shown.
    """

    def __init__(self, service: SandboxService, conversations: Conversations, settings: Settings) -> None:
        self.sandboxes = CallSandboxes(service, conversations)
        most_output = settings.agent.max_tool_output_chars
        self.toolbox = Toolbox.of(
            CommandTools(service, self.sandboxes, most_output),
            FileTools(service, self.sandboxes, most_output),
            self.sandboxes,
        )
        self._resources = FileResources(service, self.sandboxes)
        self._settings = settings
        self._lock = anyio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(self._tasks.cancel_scope.cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def answer(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request.

        Args:
            caller: Who has sent it.
            scope: Of ASGI, and so are the others.
            receive: Gives the body.
            send: Takes the answer.
        """
        manager = await self._started()
        _name_caller(scope, caller.principal)
        scope.setdefault("state", {})["mcp_caller"] = caller
        await manager.handle_request(scope, receive, send)

    async def _started(self) -> "StreamableHTTPSessionManager":
        async with self._lock:
            if self._manager is None:
                if self._tasks is None:
                    raise RuntimeError("the endpoint is used outside its context")
                # Half a second that would hold up everybody else.
                await anyio.to_thread.run_sync(_load_sdk)
                self._manager = await self._tasks.start(self._run)
            return self._manager

    async def _run(self, task_status: TaskStatus["StreamableHTTPSessionManager"]) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415

        from lm_sandbox.surfaces.mcp.server import build_server  # noqa: PLC0415

        manager = StreamableHTTPSessionManager(
            build_server(self.toolbox, self._resources),
            max_request_body_size=self._settings.max_body_bytes,
            session_idle_timeout=self._settings.sandbox.idle_timeout_s,
            max_sessions=MOST_SESSIONS,
        )
        async with manager.run():
            task_status.started(manager)
            await anyio.sleep_forever()


def _load_sdk() -> None:
    import mcp.server.streamable_http_manager  # noqa: F401, PLC0415

    import lm_sandbox.surfaces.mcp.server  # noqa: F401, PLC0415


def _name_caller(scope: Scope, principal: Principal) -> None:
    """Tells the SDK whose request it is: it keeps every session for who has opened it."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser  # noqa: PLC0415
    from mcp.server.auth.provider import AccessToken  # noqa: PLC0415

    scopes = [held.value for held in principal.scopes]
    scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=principal.id, scopes=scopes))
