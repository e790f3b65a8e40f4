"""What a killed server has left: the sandboxes that still live, and the records of those that do not."""

import shutil
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
from lm_sandbox.sandboxes.serving_process import is_running
from lm_sandbox.sandboxes.shell import Shell
from lm_sandbox.sandboxes.shell_notes import ShellNotes
from lm_sandbox.sandboxes.shell_run import ShellRun

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


async def survivors(
    driver: SandboxDriver, records: SandboxStore, registry: SandboxRegistry, spool: Path, tasks: TaskGroup
) -> list[Survivor]:
    """Enters every recorded sandbox but those of servers that run, and removes what nobody knows.

    Args:
        driver: Has what is left of them.
        records: What is recorded.
        registry: Where they are entered.
        spool: The folder with their outputs.
        tasks: What goes on in their shells beside the commands runs in it.

    Raises:
        DriverUnavailable: the host refused.
    """
    adopted = {one.sandbox: one for one in await driver.adopt()}
    found = []
    known = set()
    for record in await records.all():
        known.add(record.id)
        if is_running(record.server):
            continue
        left = adopted.pop(SandboxId(record.id), None)
        sandbox = registry.restore(record, left.enforced if left else None)
        running = await _resume(sandbox, left, tasks) if left else sandbox.commands.restore({})
        owner = Principal(record.owner, record.owner, frozenset({Scope.SANDBOXES, Scope.MODELS}))
        found.append(Survivor(sandbox, left, owner, record.egress, running))
        await records.change(SandboxRecord.of(sandbox))
    for sandbox_id in adopted:
        await driver.destroy(sandbox_id)
    await anyio.to_thread.run_sync(_sweep, spool, known)
    return found


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


def _sweep(spool: Path, known: set[str]) -> None:
    """Removes the outputs of sandboxes that nobody knows any more."""
    for folder in spool.iterdir():
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
