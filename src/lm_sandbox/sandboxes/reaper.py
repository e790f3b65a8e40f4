"""Deletes the sandboxes whose time is over, charges for the others, and writes down when each was used."""

import logging
from collections.abc import Awaitable, Callable

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore

LOG = logging.getLogger(__name__)
REAP_S = 5.0


class Reaper:
    """Looks after the sandboxes of one process.

    Args:
        registry: Has them.
        records: Keep when each was last used.
        shares: Are charged.
        remove: Deletes one, for a reason.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        registry: SandboxRegistry,
        records: SandboxStore,
        shares: Shares,
        remove: Callable[[Sandbox, str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._records = records
        self._shares = shares
        self._remove = remove
        self._clock = clock

    async def reap(self) -> None:
        """Looks after each once."""
        now = self._clock()
        for sandbox in self._registry:
            await self._shares.charge_seconds(sandbox.owner, sandbox.take_seconds(now))
            if sandbox.state is not SandboxState.CREATING and sandbox.is_over(now):
                await self._remove(sandbox, "its time was over")
            elif sandbox.recorded_at < sandbox.last_active_at:
                sandbox.recorded_at = sandbox.last_active_at
                await self._records.change(SandboxRecord.of(sandbox))

    async def reap_for_ever(self) -> None:
        """Looks after them every few seconds."""
        while True:
            await anyio.sleep(REAP_S)
            try:
                await self.reap()
            except LmSandboxError as error:
                # Such as a database that is gone: it is tried again, and the server goes on.
                LOG.warning("sandboxes could not be looked after: %s", error.message)
