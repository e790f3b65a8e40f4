"""Which sandbox a conversation has, so that its files are there at the next turn."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from lm_sandbox.agent.conversation_sandboxes import ConversationSandboxes
from lm_sandbox.errors import Gone, SandboxNotFound
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.sandbox import Lifetime, NewSandbox, Sandbox
from lm_sandbox.sandboxes.service import SandboxService


def conversation_key(principal: Principal, opening: str) -> str:
    """Names a conversation of the principal by how it opened."""
    return hashlib.sha256(f"{principal.id}\0{opening}".encode(errors="surrogatepass")).hexdigest()


class Conversations:
    """Finds the sandbox of a conversation, or makes it one.

    When a conversation has rested for too long its sandbox is gone, and it gets a new one.

    Args:
        sandboxes: Makes and finds them, with the caller's rights.
        records: Remember them for every server process.
        idle_s: How long a conversation that rests keeps its sandbox, in seconds.
    """

    def __init__(self, sandboxes: SandboxService, records: ConversationSandboxes, idle_s: float) -> None:
        self._sandboxes = sandboxes
        self._idle = Lifetime(idle_timeout_s=idle_s)
        self._records = records
        self._locks: dict[str, anyio.Lock] = {}

    async def sandbox(self, principal: Principal, key: str, *, new: bool) -> Sandbox:
        """Returns the conversation's sandbox.

        Args:
            principal: Who owns it.
            key: Names the conversation.
            new: Whether it starts now, so that an earlier one that opened alike is not met.

        Raises:
            NoCapacity: a new one is needed and there is no room.
            HeldElsewhere: another process has it.
        """
        async with self._turn(key):
            known = None if new else await self._records.find(key)
            if known is not None:
                with suppress(SandboxNotFound, Gone):
                    return await self._sandboxes.find(principal, known)
            new_one = NewSandbox(metadata={"made_for": "conversation"}, lifetime=self._idle)
            sandbox = await self._sandboxes.create(principal, new_one)
            await self._records.enter(key, sandbox.id)
            return sandbox

    async def last(self, key: str) -> str | None:
        """Tells the id of the sandbox that the conversation last had, whether it is still there or not."""
        return await self._records.find(key)

    async def end(self, principal: Principal, key: str) -> None:
        """Forgets the conversation and deletes its sandbox."""
        sandbox_id = await self._records.find(key)
        if sandbox_id is not None:
            await self._records.remove(key)
            with suppress(SandboxNotFound, Gone):
                await self._sandboxes.delete(principal, sandbox_id)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(key, None)
