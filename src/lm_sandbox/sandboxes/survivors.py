"""What killed servers have left: the sandboxes that still live, and the records of those that do not."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from anyio.abc import TaskGroup

from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.driver import Adopted, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.shell import Shell
from lm_sandbox.sandboxes.shell_notes import ShellNotes
from lm_sandbox.sandboxes.shell_run import ShellRun
from lm_sandbox.storage.serving_process import is_running

SHELL = "sh_"


@dataclass(frozen=True, slots=True)
class Survivor:
    """A sandbox of an earlier server.

    Attributes:
        sandbox: As it is entered now.
        left: What holds it and goes on in it; None where nothing does any more, and it has failed.
        owner: For whom its way out is opened again, as was allowed when it was made.
        egress: What it may reach.
        running: Its commands that go on.
    """

    sandbox: Sandbox
    left: Adopted | None
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
        self._tasks: TaskGroup | None = None
        # Kept until all is entered, as the database may be gone in between.
        self._adopted: dict[SandboxId, Adopted] = {}

    def own(self, tasks: TaskGroup) -> None:
        """Takes the tasks in which what goes on in shells, beside commands, is seen to its end."""
        self._tasks = tasks

    async def take_over(self) -> list[Survivor]:
        """Enters every recorded sandbox of a dead server, and destroys those that nobody knows.

        Only one process may do so at a time.

        Raises:
            DriverUnavailable: the host refused.
            DatabaseUnavailable: the rest is left for the next time.
        """
        # Asked first: of a server that dies from here on not all is adopted, so it has to wait for its turn.
        dead = {record.server for record in await self._records.all() if not is_running(record.server)}
        self._adopted |= {one.sandbox: one for one in await self._driver.adopt()}
        records = await self._records.all()
        found = [await self._enter(record) for record in records if record.server in dead]
        for sandbox_id in self._adopted.keys() - {record.id for record in records}:
            await self._driver.destroy(sandbox_id)
            del self._adopted[sandbox_id]
        return found

    async def _enter(self, record: SandboxRecord) -> Survivor:
        left = self._adopted.get(SandboxId(record.id))
        sandbox = self._registry.picture(record, left.enforced if left else None)
        await self._records.take(SandboxRecord.of(sandbox), record.server)
        self._registry.restore(sandbox)
        self._adopted.pop(sandbox.id, None)
        running = await self._resume(sandbox, left)
        owner = Principal(record.owner, record.owner, frozenset({Scope.SANDBOXES, Scope.MODELS}))
        return Survivor(sandbox, left, owner, record.egress, running)

    async def _resume(self, sandbox: Sandbox, left: Adopted | None) -> list[Command]:
        if left is None:
            return sandbox.commands.restore({})
        if self._tasks is None:
            raise RuntimeError("the estate has no tasks of its own")
        return await _resume(sandbox, left, self._tasks)


async def note_ended(driver: SandboxDriver, records: SandboxStore, registry: SandboxRegistry) -> None:
    """Marks the sandboxes as failed that have died without anybody having noticed."""
    for sandbox_id in await driver.ended():
        for sandbox in registry:
            if sandbox.id == sandbox_id and sandbox.state not in {SandboxState.CREATING, SandboxState.FAILED}:
                sandbox.state = SandboxState.FAILED
                await records.change(SandboxRecord.of(sandbox))


async def _resume(sandbox: Sandbox, left: Adopted, tasks: TaskGroup) -> list[Command]:
    """Enters shells and commands, and returns the commands that go on; what nobody knows is ended."""
    in_shells: dict[str, tuple[Shell, ShellRun]] = {}
    unknown = dict(left.processes)
    for shell in _shells(left, tasks):
        sandbox.shells.enter(shell)
        run = shell.resume(left.processes)
        for name in shell.names():
            unknown.pop(name, None)
        if run is not None:
            in_shells[shell.notes.now.command or shell.id] = (shell, run)
    runs = {name: run for name, (_, run) in in_shells.items()}
    running = sandbox.commands.restore({**left.processes, **runs})
    for command in running:
        unknown.pop(command.id, None)
        in_shells.pop(command.id, None)
    for shell, run in in_shells.values():
        tasks.start_soon(shell.give_up, run)
    for process in unknown.values():
        await process.kill()
        await process.aclose()
    return running


def _shells(left: Adopted, tasks: TaskGroup) -> list[Shell]:
    found = []
    for name, file in left.files.items():
        if name.startswith(SHELL):
            # One of which nothing was written down was never told to anybody.
            with suppress(ValueError):
                found.append(Shell(name, ShellNotes.load(file), tasks))
    return sorted(found, key=lambda shell: shell.created_at)


async def sweep(spool: Path, records: SandboxStore) -> None:
    """Removes the outputs of sandboxes that nobody knows any more."""
    # Listed first: what another process makes meanwhile is not among them.
    folders = await anyio.to_thread.run_sync(lambda: list(spool.iterdir()))
    known = {record.id for record in await records.all()}
    await anyio.to_thread.run_sync(_remove, [folder for folder in folders if folder.name not in known])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
