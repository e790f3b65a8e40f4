"""What is done for sandboxes without anybody asking: those of a dead server go on, idle ones end."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.sandboxes.changing import set_egress
from lm_sandbox.sandboxes.command_work import CommandWork
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.making import Making
from lm_sandbox.sandboxes.sandbox import SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord
from lm_sandbox.sandboxes.survivors import Survivor, note_ended, sweep

LOG = logging.getLogger(__name__)
REAP_S = 5.0

Heir = Callable[[Survivor], Awaitable[None]]


class Upkeep:
    """Keeps a fleet in order.

    Attributes:
        survivors: The sandboxes that earlier servers have left, before there were heirs.
        heirs: Take over what is theirs of those that are left later.

    Args:
        fleet: What is kept.
        making: Removes what is over.
        work: Goes on with commands of a killed server.
        spool: A folder for long outputs.
    """

    def __init__(self, fleet: Fleet, making: Making, work: CommandWork, spool: Path) -> None:
        self._fleet = fleet
        self._making = making
        self._work = work
        self._spool = spool
        self.survivors: list[Survivor] = []
        self.heirs: list[Heir] = []

    async def succeed(self, found: Survivor) -> None:
        """Goes on with a sandbox that a dead server has left."""
        fleet = self._fleet
        if not self.heirs:
            self.survivors.append(found)
        for command in found.running:
            self._work.watch(found.sandbox, command, ExitStack())
        if found.left is not None:
            # It has them: no model may take them any more.
            with suppress(LmSandboxError):
                await fleet.gpus.take(found.sandbox.gpus)
            with suppress(LmSandboxError):
                await set_egress(fleet.networks, found.owner, found.sandbox, found.egress)
        for heir in self.heirs:
            await heir(found)

    async def sweep(self) -> None:
        """Removes the outputs of sandboxes that nobody knows."""
        await sweep(self._spool, self._fleet.records)

    async def reap(self) -> None:
        """Deletes the sandboxes whose time is over, and marks those as failed that have died."""
        fleet = self._fleet
        await note_ended(fleet.driver, fleet.records, fleet.registry)
        now = fleet.clock()
        for sandbox in fleet.registry:
            await fleet.shares.charge_seconds(sandbox.owner, sandbox.take_seconds(now))
            if sandbox.state is not SandboxState.CREATING and sandbox.is_over(now):
                await self._making.remove(sandbox, "its time was over")
            elif sandbox.recorded != sandbox.used:
                sandbox.recorded = sandbox.used
                await fleet.records.change(SandboxRecord.of(sandbox))

    async def reap_for_ever(self) -> None:
        """Does so every few seconds, whatever goes wrong in between."""
        while True:
            await anyio.sleep(REAP_S)
            try:
                await self.reap()
            except LmSandboxError as error:
                # Such as a database that is gone: it is tried again, and the server goes on.
                LOG.warning("sandboxes could not be looked after: %s", error.message)
            except Exception:  # What a full disk or an engine refuses now may go well the next time.
                LOG.exception("Looking after the sandboxes failed.")

    async def close_books(self) -> None:
        """Lets go of every sandbox of a server that ends, which takes them with it."""
        for sandbox in self._fleet.registry:
            await sandbox.close_books()
            await self._fleet.records.remove(sandbox.id)
