"""The outermost of all: a request for what another process has never comes in here."""

import re

import anyio
from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.gate import Visit
from lm_sandbox.storage.servers import HeldElsewhere
from lm_sandbox.surfaces.deps import services_of
from lm_sandbox.surfaces.doorway import address_of
from lm_sandbox.surfaces.errors import failure_of, problem
from lm_sandbox.surfaces.forwarding.exchange import HolderGone, forward
from lm_sandbox.surfaces.forwarding.hop import was_forwarded
from lm_sandbox.surfaces.forwarding.socket import forward_socket

NAMED = re.compile(r"/v1/(?:sandboxes|containers)/(sb_[0-9a-f]{16})(?:/|$)")
LINKED = re.compile(r"/v1/port-links/([^/]+)(?:/|$)")
# So long a process is waited for that is about to end, and so often it is looked at.
PATIENCE_S, AGAIN_S = 10.0, 0.05


class Forwarding:
    """ASGI middleware.

    What a path names is looked for before anything else is done; what turns out later to be another
    process's is handed on with what was read of the request, which a route has done no more with.

    Args:
        app: What is behind it.
        most_bytes: How much of a body is kept for that.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] == "lifespan" or not services_of(scope).servers.others():
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except LmSandboxError as error:
            await _refuse(problem(failure_of(error)), scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        holder = await _named_holder(scope)
        if was_forwarded(scope):
            if holder is not None:
                raise HeldElsewhere(holder)
            await self._app(scope, receive, send)
            return
        if await self._forwarded(holder, scope, receive, send):
            return
        read = _Read(receive, self._most_bytes)
        before = dict(scope)
        try:
            await self._app(scope, read.receive, send)
        except HeldElsewhere as error:
            if read.lost or not await self._forwarded(error.holder, before, read.replay(), send):
                raise

    async def _forwarded(self, holder: str | None, scope: Scope, receive: Receive, send: Send) -> bool:
        """Hands a request on, and tells whether it was answered; that it is nobody else's, if not.

        Raises:
            HeldElsewhere: the one that has it listens no more, and does not end either.
        """
        services = services_of(scope)
        hand_on = forward if scope["type"] == "http" else forward_socket
        until = anyio.current_time() + PATIENCE_S
        while holder is not None:
            try:
                await hand_on(services.servers.address(holder), scope, receive, send)
            except HolderGone:
                if anyio.current_time() > until:
                    raise HeldElsewhere(holder) from None
                # Its sandboxes are this process's or another one's now, or will be as soon as it has ended.
                await anyio.sleep(AGAIN_S)
                sandbox_id = _named_sandbox(scope)
                holder = sandbox_id and await services.sandboxes.holders.holder(sandbox_id)
            else:
                return True
        return False


async def _named_holder(scope: Scope) -> str | None:
    """Names the process that has what the path names, where that is another one."""
    services = services_of(scope)
    sandbox_id = _named_sandbox(scope)
    if sandbox_id is None or services.sandboxes.holders.has(sandbox_id):
        return None
    # It costs a look into the database, so it is counted before.
    await services.gate.arrive(Visit(address_of(scope)))
    return await services.sandboxes.holders.holder(sandbox_id)


def _named_sandbox(scope: Scope) -> str | None:
    if found := NAMED.match(scope["path"]):
        return found[1]
    if found := LINKED.match(scope["path"]):
        return services_of(scope).links.sandbox_of(found[1])
    return None


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        await answer(scope, receive, send)


class _Read:
    """What was read of a request, to be read once more."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._left = most_bytes
        self._messages: list[Message] = []
        self.lost = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body") or b"")
        if self._left < 0:
            self.lost = True
            self._messages.clear()
        if not self.lost:
            self._messages.append(message)
        return message

    def replay(self) -> Receive:
        messages = iter(self._messages)

        async def receive() -> Message:
            return next(messages, None) or await self._receive()

        return receive
