"""What a killed server has left: the sandboxes that still live, and the records of those that do not."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.driver import SandboxDriver, SandboxId
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Sandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.serving_process import is_running


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


async def survivors(
    driver: SandboxDriver, records: SandboxStore, registry: SandboxRegistry
) -> list[Survivor]:
    """Enters every recorded sandbox but those of servers that run, and destroys those that nobody knows.

    Raises:
        DriverUnavailable: the host refused.
    """
    adopted = {one.sandbox: one for one in await driver.adopt()}
    found = []
    for record in await records.all():
        if is_running(record.server):
            continue
        alive = adopted.pop(SandboxId(record.id), None)
        sandbox = registry.restore(record, alive.enforced if alive else None)
        running = sandbox.commands.restore(alive.processes if alive else {})
        owner = Principal(record.owner, record.owner, frozenset({Scope.SANDBOXES, Scope.MODELS}))
        found.append(Survivor(sandbox, alive is not None, owner, record.egress, running))
        await records.change(SandboxRecord.of(sandbox))
    for sandbox_id in adopted:
        await driver.destroy(sandbox_id)
    return found


def sweep(spool: Path, known: set[str]) -> None:
    """Removes the outputs of sandboxes that nobody knows any more."""
    for folder in spool.iterdir():
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
