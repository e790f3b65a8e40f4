"""Which sandbox a call works in: its conversation's own, the pinned one, or one that it names.

Revisions of the protocol up to 2025-11-25 have sessions, and each gets a sandbox of its own. 2026-07-28 has
none any more: state goes by handles in arguments, and what gives none has one sandbox for each
cookie that `server/discover` has set, or else for each client program that uses the key.
"""

from contextlib import suppress

from lm_sandbox.agent.conversations import Conversations, conversation_key
from lm_sandbox.errors import Conflict, Gone, SandboxNotFound
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.sandbox import NewSandbox, Sandbox, SandboxState, Selection
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.surfaces.mcp.caller import Call, Caller

ID_PREFIX = "sb_"
PAGE = 1000
MADE_FOR = {"made_for": "mcp"}


class CallSandboxes:
    """Finds the sandbox of a call, or makes it.

    Args:
        sandboxes: Makes and finds them, with the caller's rights.
        conversations: Remembers which conversation has which.
    """

    def __init__(self, sandboxes: SandboxService, conversations: Conversations) -> None:
        self._sandboxes = sandboxes
        self._conversations = conversations

    async def use(self, call: Call, named: str | None) -> tuple[Sandbox, bool]:
        """Returns the sandbox, and whether it replaces an earlier one that has ended with its files.

        Raises:
            SandboxNotFound, Gone: the caller has none of the name that the call gives.
            NoCapacity: a new one is needed and there is no room.
        """
        if named is not None:
            return await self.find(call.principal, named), False
        if call.caller.sandbox is not None:
            return await self._pinned(call.principal, call.caller.sandbox), False
        key = _key(call.principal, call.session)
        before = await self._conversations.last(key)
        if before is not None and await self._has_failed(call.principal, before):
            await self._conversations.end(call.principal, key)
        sandbox = await self._conversations.sandbox(call.principal, key, new=False)
        return sandbox, before not in {None, sandbox.id}

    async def existing(self, call: Call, named: str | None) -> Sandbox:
        """Returns the sandbox where there is one already.

        Raises:
            SandboxNotFound, Gone: there is none.
        """
        named = named or call.caller.sandbox
        named = named or await self._conversations.last(_key(call.principal, call.session))
        if named is None:
            raise SandboxNotFound("This conversation has no sandbox yet; bash or write_file makes it.")
        return await self.find(call.principal, named)

    async def find(self, principal: Principal, named: str) -> Sandbox:
        """Finds a sandbox of the principal by its id, or by its name.

        Raises:
            SandboxNotFound, Gone: there is none.
        """
        if named.startswith(ID_PREFIX):
            return await self._sandboxes.find(principal, named)
        found, _ = await self._sandboxes.page(principal, limit=PAGE, selection=Selection(name=named))
        for sandbox in found:
            if sandbox.owner == principal.id:
                return await self._sandboxes.find(principal, sandbox.id)
        raise SandboxNotFound(f"There is no sandbox {named!r}.")

    async def locate(self, caller: Caller, named: str | None) -> None:
        """Looks whether a request is for a sandbox that another process has.

        Raises:
            HeldElsewhere: it is.
        """
        named = named or caller.sandbox
        if named is None and caller.session is not None:
            named = await self._conversations.last(_key(caller.principal, caller.session))
        if named is not None:
            with suppress(SandboxNotFound, Gone):
                await self.find(caller.principal, named)

    async def create(self, principal: Principal, name: str | None) -> Sandbox:
        """Makes another sandbox; raises as the service does."""
        return await self._sandboxes.create(principal, NewSandbox(name=name, metadata=MADE_FOR))

    async def end(self, principal: Principal, session: str) -> None:
        """Deletes what a session had, which has ended."""
        await self._conversations.end(principal, _key(principal, session))

    async def _has_failed(self, principal: Principal, sandbox_id: str) -> bool:
        try:
            return (await self._sandboxes.find(principal, sandbox_id)).state is SandboxState.FAILED
        except (SandboxNotFound, Gone):
            return False

    async def _pinned(self, principal: Principal, name: str) -> Sandbox:
        try:
            return await self.find(principal, name)
        except (SandboxNotFound, Gone):
            try:
                return await self.create(principal, None if name.startswith(ID_PREFIX) else name)
            except Conflict:  # Two calls came at once.
                return await self.find(principal, name)


def _key(principal: Principal, session: str) -> str:
    return conversation_key(principal, f"mcp\0{session}")
