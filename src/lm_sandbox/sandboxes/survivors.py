"""What killed servers have left: the sandboxes that still live, and the records of those that do not."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.driver import Adopted, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Sandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.storage.serving_process import is_running


@dataclass(frozen=True, slots=True)
class Survivor:
    """A sandbox of an earlier server.

    Attributes:
        sandbox: As it is entered now; it has failed where nothing holds it any more.
        alive: Whether something does.
        owner: For whom its way out is opened again, as was allowed when it was made.
        egress: What it may reach.
        running: Its commands that go on.
    """

    sandbox: Sandbox
    alive: bool
    owner: Principal
    egress: EgressPolicy
    running: list[Command]


class Estate:
    """Takes over from servers that have died.

    Args:
        driver: Knows what still lives.
        records: Tell what there was.
        registry: Where it is entered.
    """

    def __init__(self, driver: SandboxDriver, records: SandboxStore, registry: SandboxRegistry) -> None:
        self._driver = driver
        self._records = records
        self._registry = registry
        # Kept until all is entered, as the database may be gone in between.
        self._adopted: dict[SandboxId, Adopted] = {}

    async def take_over(self) -> list[Survivor]:
        """Enters every recorded sandbox of a dead server, and destroys those that nobody knows.

        Only one process may do so at a time.

        Raises:
            DriverUnavailable: the host refused.
            DatabaseUnavailable: the rest is left for the next time.
        """
        self._adopted |= {one.sandbox: one for one in await self._driver.adopt()}
        left = [record for record in await self._records.all() if not is_running(record.server)]
        found = [await self._enter(record) for record in left]
        for sandbox_id in list(self._adopted):
            await self._driver.destroy(sandbox_id)
            del self._adopted[sandbox_id]
        return found

    async def _enter(self, record: SandboxRecord) -> Survivor:
        alive = self._adopted.get(SandboxId(record.id))
        sandbox = self._registry.picture(record, alive.enforced if alive else None)
        await self._records.take(SandboxRecord.of(sandbox), record.server)
        self._registry.restore(sandbox)
        self._adopted.pop(sandbox.id, None)
        running = sandbox.commands.restore(alive.processes if alive else {})
        owner = Principal(record.owner, record.owner, frozenset({Scope.SANDBOXES, Scope.MODELS}))
        return Survivor(sandbox, alive is not None, owner, record.egress, running)


async def sweep(spool: Path, records: SandboxStore) -> None:
    """Removes the outputs of sandboxes that nobody knows any more."""
    # Listed first: what another process makes meanwhile is not among them.
    folders = await anyio.to_thread.run_sync(lambda: list(spool.iterdir()))
    known = {record.id for record in await records.all()}
    await anyio.to_thread.run_sync(_remove, [folder for folder in folders if folder.name not in known])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
