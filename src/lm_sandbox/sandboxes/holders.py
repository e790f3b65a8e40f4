"""Which process has which sandbox, and how one takes over what another had that has died."""

import logging
from collections.abc import Awaitable, Callable

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.driver import SandboxId
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.survivors import Estate, Survivor
from lm_sandbox.storage.servers import HeldElsewhere, Servers

LOG = logging.getLogger(__name__)
# So long after a process has died its sandboxes are taken over; one that is asked for, at once.
WATCH_S = 1.0

Succeed = Callable[[Survivor], Awaitable[None]]


class Holders:
    """The sandboxes of all processes, as far as this one has to know.

    Args:
        registry: Those of this process.
        records: Those of all.
        servers: The other processes over the same data; None for none.
        estate: Enters what dead ones have left.
        succeed: Goes on with each.
    """

    def __init__(
        self,
        registry: SandboxRegistry,
        records: SandboxStore,
        servers: Servers | None,
        estate: Estate,
        succeed: Succeed,
    ) -> None:
        self._registry = registry
        self._records = records
        self._servers = servers
        self._estate = estate
        self._succeed = succeed

    def has(self, sandbox_id: str) -> bool:
        """Whether this process has a sandbox, or knows that it was deleted."""
        return self._registry.has(sandbox_id)

    async def require_here(self, sandbox_id: str) -> None:
        """Lets a sandbox be looked for in this process.

        Raises:
            HeldElsewhere: another one has it.
        """
        holder = await self.holder(sandbox_id)
        if holder is not None:
            raise HeldElsewhere(holder)

    async def holder(self, sandbox_id: str) -> str | None:
        """Names the other process that has a sandbox; None where this one has it or nobody has."""
        server = await self._holder(sandbox_id)
        servers = self._servers
        if servers is None or server is None:
            return None
        if server == servers.name or server in servers.dead():
            # One that is written down as this process's and is not here is just being taken over by it.
            await self.take_over()
            server = await self._holder(sandbox_id)
        return server if server != servers.name else None

    async def _holder(self, sandbox_id: str) -> str | None:
        others = self._others()
        if self._registry.has(sandbox_id) or not others:
            return None
        found = await self._records.holder(sandbox_id)
        if found is None:
            return None
        server, owner = found
        if server is None:
            self._registry.note_deleted(SandboxId(sandbox_id), owner)
        # Processes come and go meanwhile; one that is gone has left it to another one, which is found then.
        return server if server in {*others, *self._others(), self._name} else None

    async def elsewhere(self, principal: Principal, name: str | None) -> list[SandboxRecord]:
        """Returns what other processes have that a principal may see, as they last wrote it down."""
        owner = None if principal.owns("") else principal.id
        others = self._others()
        return await self._records.page(owner, name, others) if others else []

    async def count(self, owner: str) -> int:
        """Tells how many sandboxes an owner has, wherever they are."""
        own = self._registry.count(owner)
        if self._servers is None or not self._others():
            return own
        return own + await self._records.count(owner, self._servers.name)

    async def uses_image(self, name: str) -> bool:
        """Whether anybody's sandbox is made of an image."""
        if any(sandbox.image == name for sandbox in self._registry):
            return True
        return any(record.image == name for record in await self._records.all())

    async def uses_volume(self, volume_id: str, connection: AsyncConnection) -> bool:
        """Whether anybody's sandbox has a volume mounted, as a transaction sees it."""
        own = (mount.id for sandbox in self._registry for mount in sandbox.mounts)
        return volume_id in own or await self._records.mounts_volume(volume_id, connection)

    async def take_over(self) -> None:
        """Takes over from the processes that have died; others wait meanwhile, and then find nothing left.

        Raises:
            DriverUnavailable, DatabaseUnavailable: the rest is left for the next time.
        """
        servers = self._servers
        if servers is None or not servers.joins:
            return
        # Whoever asked for it may go away meanwhile; what was begun is ended all the same.
        with anyio.CancelScope(shield=True):
            async with servers.taking_over():
                dead = servers.dead()
                for found in await self._estate.take_over():
                    await self._succeed(found)
                for name in dead:
                    servers.remove(name)

    async def watch_for_ever(self) -> None:
        """Takes over from each process that dies."""
        while True:
            await anyio.sleep(WATCH_S)
            try:
                if self._servers is not None and self._servers.dead():
                    await self.take_over()
            except LmSandboxError as error:
                LOG.warning("what a dead server has left could not be taken over: %s", error.message)
            except Exception:  # It is tried again, and the sandboxes of this process go on.
                LOG.exception("What a dead server has left could not be taken over.")

    @property
    def _name(self) -> str | None:
        return self._servers.name if self._servers is not None else None

    def _others(self) -> tuple[str, ...]:
        return self._servers.others() if self._servers is not None else ()
