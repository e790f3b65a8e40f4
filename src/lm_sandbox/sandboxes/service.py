"""The one public door to sandboxes: who owns which, how many there are, and what runs in them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Self

import anyio
from anyio.abc import TaskGroup

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.admission import admit_lifetime, admit_limits, default_limits
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.command_runner import CommandRunner, Spawn
from lm_sandbox.sandboxes.commands import CommandResult, Sink
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxSpec, Stats
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.events import Events
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import (
    ALLOWED_FROM,
    Change,
    NewCommand,
    NewSandbox,
    Sandbox,
    SandboxState,
    Selection,
)
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.sandboxes.secrets import check_secrets
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.survivors import Survivor, note_ended, survivors
from lm_sandbox.sandboxes.witness import Witness
from lm_sandbox.telemetry.happenings import Tell, unheard

REAP_S = 5.0


class SandboxService:
    """Makes sandboxes, runs commands in them and deletes them, each for its owner only.

    Attributes:
        runner: Starts programs in them.
        survivors: Those that an earlier server has left.

    Args:
        driver: What makes them; entered and left with the service.
        settings: Defaults and bounds.
        snapshots: Keeps the saved files of sandboxes.
        records: Keeps what has to be known of sandboxes when this server was killed.
        spool: A folder for long outputs.
        networks: Their ways out.
        tell: Hears what happens.
        shares: How much each principal takes.
        clock: Seconds that only go up.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        driver: SandboxDriver,
        settings: SandboxSettings,
        snapshots: SnapshotStore,
        records: SandboxStore,
        spool: Path,
        *,
        networks: Networks | None = None,
        tell: Tell = unheard,
        shares: Shares | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._driver = driver
        self._networks = networks or Networks(driver)
        self._settings = settings
        self._snapshots = snapshots
        self._records = records
        self._spool = spool
        self._clock = clock
        self._shares = shares or Shares()
        self._registry = SandboxRegistry(settings, spool, clock)
        self.runner = CommandRunner(driver, self._networks, settings)
        self._witness = Witness(tell, driver.name, self.runner)
        self.survivors: list[Survivor] = []
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Starts the driver and the reaper of idle sandboxes.

        Raises:
            DriverUnavailable: this host cannot isolate; the message says what to do.
        """
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(self._driver)
            await exits.enter_async_context(self._networks)
            exits.push_async_callback(self._close_books)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            self._tasks = tasks
            await self._recover(tasks)
            tasks.start_soon(self._reap_for_ever)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, principal: Principal, new: NewSandbox) -> Sandbox:
        """Makes a sandbox that belongs to the principal and is ready for commands.

        Raises:
            Forbidden: the principal lacks the scope.
            Conflict: the principal has one of this name, or the snapshot is of another image.
            Invalid: a limit is over the server's, a secret cannot be used, or there is no such image.
            SnapshotNotFound: the principal has no such snapshot to start from.
            NoCapacity: as many as allowed exist.
            QuotaReached: the principal has as many, or had them for as long, as it may.
            Unsupported: this host gives no sandbox an image.
            DriverUnavailable: the host refused.
        """
        principal.require(Scope.SANDBOXES)
        await self._shares.check_sandboxes(principal, self._registry.count(principal.id))
        limits = admit_limits(new.limits, self._settings)
        check_secrets(new.secrets, new.egress)
        origin = await self._snapshots.find(principal, new.snapshot) if new.snapshot else None
        if origin is not None and new.image is None:
            new = replace(new, image=origin.image)
        sandbox = self._registry.add(principal, new)
        with self._witness.making(principal, sandbox):
            try:
                spec = SandboxSpec(limits=limits, env=dict(new.env), image=new.image)
                sandbox.enforced = await self._driver.create(sandbox.id, spec)
                if origin is not None:
                    await self._driver.load(sandbox.id, self._snapshots.folder(origin.id))
                await self._networks.give_secrets(sandbox.id, new.secrets)
                await self._set_egress(principal, sandbox, new.egress)
                sandbox.state = SandboxState.RUNNING
                await self._records.add(SandboxRecord.of(sandbox))
            except BaseException:
                self._registry.forget(sandbox)
                with anyio.CancelScope(shield=True):
                    await self._networks.close(sandbox.id)
                    await self._driver.destroy(sandbox.id)
                raise
        return sandbox

    def page(
        self,
        principal: Principal,
        *,
        after: str | None = None,
        limit: int,
        selection: Selection | None = None,
    ) -> tuple[list[Sandbox], bool]:
        """Lists the principal's sandboxes, oldest first, and tells whether there are more.

        An admin sees all. `after` is the id that ended the page before.
        """
        return self._registry.page(principal, selection or Selection(), after, limit)

    def get(self, principal: Principal, sandbox_id: str) -> Sandbox:
        """Finds one of the principal's sandboxes.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        return self._registry.find(principal, sandbox_id)

    def uses_image(self, name: str) -> bool:
        """Whether anybody's sandbox is made of an image."""
        return any(sandbox.image == name for sandbox in self._registry)

    async def change(self, principal: Principal, sandbox_id: str, change: Change) -> Sandbox:
        """Changes what can be changed while it lives.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
            Conflict: another sandbox of the principal has the name, or a command the port of the proxy.
            Forbidden: models are to be reached from inside, and the principal may not use them itself.
            Invalid: a time is over the server's.
            SandboxFailed: it died.
        """
        sandbox = self.get(principal, sandbox_id)
        if change.egress is not None:
            async with sandbox.changing:
                sandbox.require(SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)
                with sandbox.noting_failure():
                    await self._set_egress(principal, sandbox, change.egress)
        lifetime = admit_lifetime(change.lifetime.over(sandbox.lifetime), self._settings)
        if change.name is not None and change.name != sandbox.name:
            self._registry.check_name(sandbox.owner, change.name)
            sandbox.name = change.name
        if change.metadata is not None:
            sandbox.metadata = dict(change.metadata)
        sandbox.lifetime = lifetime
        await self._records.change(SandboxRecord.of(sandbox))
        return sandbox

    async def set_state(self, principal: Principal, sandbox_id: str, state: RunState) -> Sandbox:
        """Lets a sandbox run, halts its processes where they stand, or ends them and keeps its files.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
            Conflict: it is in a state from which this cannot be; the message names it.
            Unsupported: this host cannot halt processes.
            SandboxFailed: it died.
        """
        sandbox = self.get(principal, sandbox_id)
        async with sandbox.changing:
            sandbox.require(*ALLOWED_FROM[state])
            with sandbox.noting_failure():
                await self._driver.set_state(sandbox.id, state)
            sandbox.state = SandboxState(state.value)
            sandbox.idle_since = self._clock()
            await self._records.change(SandboxRecord.of(sandbox))
        return sandbox

    async def stats(self, principal: Principal, sandbox_id: str) -> Stats:
        """Tells what a sandbox uses now.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        return await self._driver.stats(self.get(principal, sandbox_id).id)

    async def delete(self, principal: Principal, sandbox_id: str) -> None:
        """Ends everything in the sandbox and removes it.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted before.
        """
        await self._remove(self.get(principal, sandbox_id), "deleted")

    async def run(
        self,
        principal: Principal,
        sandbox_id: str,
        new: NewCommand,
        sink: Sink | None = None,
        spawn: Spawn | None = None,
    ) -> CommandResult:
        """Runs a command to its end; cancelling kills it and all that it started.

        Args:
            principal: The owner.
            sandbox_id: Where to run it.
            new: The command.
            sink: Gets the output as it comes.
            spawn: What starts it, where that is not the driver itself.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            Conflict: the sandbox does not run.
            Invalid: a bound is over the server's.
            TooLarge: the command is too long.
            QuotaReached: the principal has as many at work as it may.
            SandboxFailed: the sandbox died.
        """
        sandbox = self.get(principal, sandbox_id)
        await self._shares.check_seconds(principal)
        with self._shares.command(principal), self.in_use(sandbox), sandbox.noting_failure():
            command = await self._witness.begin(principal, sandbox, new, spawn)
            return await self._witness.see_through(sandbox, command, sink)

    async def start(
        self, principal: Principal, sandbox_id: str, new: NewCommand, spawn: Spawn | None = None
    ) -> Command:
        """Starts a command that goes on by itself; raises as `run` does."""
        sandbox = self.get(principal, sandbox_id)
        await self._shares.check_seconds(principal)
        with ExitStack() as held, sandbox.noting_failure():
            held.enter_context(self._shares.command(principal))
            command = await self._witness.begin(principal, sandbox, new, spawn)
            self._watch(sandbox, command, held.pop_all())
        return command

    def command(self, principal: Principal, sandbox_id: str, command_id: str) -> Command:
        """Finds a command that runs, or one of the last that ended.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            CommandNotFound: the sandbox has none of this id, or it is forgotten.
        """
        return self.get(principal, sandbox_id).commands.find(command_id)

    def commands(
        self, principal: Principal, sandbox_id: str, *, after: str | None = None, limit: int
    ) -> tuple[list[Command], bool]:
        """Lists the commands that run and the last that ended, oldest first, and whether there are more."""
        return self.get(principal, sandbox_id).commands.page(after, limit)

    def events(self, principal: Principal, sandbox_id: str) -> Events:
        """What was refused to a sandbox, and when what it may reach was changed.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        return self._networks.find(self.get(principal, sandbox_id).id).events

    @asynccontextmanager
    async def files(self, principal: Principal, sandbox_id: str) -> AsyncIterator[SandboxFiles]:
        """Gives access to the files of one of the principal's sandboxes, which is in use meanwhile.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            Conflict: the sandbox is paused; where it is stopped, its files are there all the same.
            SandboxFailed: the sandbox died.
        """
        sandbox = self.get(principal, sandbox_id)
        sandbox.require(SandboxState.RUNNING, SandboxState.STOPPED)
        with self.in_use(sandbox), sandbox.noting_failure():
            yield self._witness.files(principal, sandbox, self._driver.files(sandbox.id))

    def states(self) -> dict[SandboxState, int]:
        """Counts all sandboxes by state, for who runs the server."""
        return self._registry.states()

    def default_limits(self) -> Limits:
        """The limits of a sandbox that asks for none, and the most one may ask for."""
        return default_limits(self._settings)

    def in_use(self, sandbox: Sandbox) -> AbstractContextManager[None]:
        """Keeps a sandbox from being idle."""
        return sandbox.in_use(self._clock)

    async def reap(self) -> None:
        """Deletes the sandboxes whose time is over, and marks those as failed that have died."""
        await note_ended(self._driver, self._records, self._registry)
        now = self._clock()
        for sandbox in self._registry:
            await self._shares.charge_seconds(sandbox.owner, sandbox.take_seconds(now))
            if sandbox.state is not SandboxState.CREATING and sandbox.is_over(now):
                await self._remove(sandbox, "its time was over")
            elif sandbox.recorded != sandbox.used:
                sandbox.recorded = sandbox.used
                await self._records.change(SandboxRecord.of(sandbox))

    async def _reap_for_ever(self) -> None:
        while True:
            await anyio.sleep(REAP_S)
            await self.reap()

    async def _recover(self, tasks: TaskGroup) -> None:
        self.survivors = await survivors(self._driver, self._records, self._registry, self._spool, tasks)
        for found in self.survivors:
            for command in found.running:
                self._watch(found.sandbox, command, ExitStack())
            if found.left is not None:
                with suppress(LmSandboxError):
                    await self._set_egress(found.owner, found.sandbox, found.egress)

    def _watch(self, sandbox: Sandbox, command: Command, held: ExitStack) -> None:
        if self._tasks is None:
            raise RuntimeError("the service is used outside its context")
        self._tasks.start_soon(self._see_through, sandbox, command, held)

    async def _set_egress(self, principal: Principal, sandbox: Sandbox, policy: EgressPolicy) -> None:
        await self._networks.set_policy(principal, sandbox.id, sandbox.owner, policy)
        sandbox.egress = policy
        if sandbox.enforced is not None:
            sandbox.enforced = replace(sandbox.enforced, network=str(policy))

    async def _see_through(self, sandbox: Sandbox, command: Command, held: ExitStack) -> None:
        # What goes wrong is told by the command itself.
        with held, self.in_use(sandbox), suppress(LmSandboxError), sandbox.noting_failure():
            await self._witness.see_through(sandbox, command)

    async def _remove(self, sandbox: Sandbox, reason: str) -> None:
        if not self._registry.bury(sandbox):
            return
        self._witness.gone(sandbox, reason)
        with anyio.CancelScope(shield=True):
            await self._networks.close(sandbox.id)
            await self._driver.destroy(sandbox.id)
            await self._records.remove(sandbox.id)
            await self._shares.charge_seconds(sandbox.owner, sandbox.take_seconds(self._clock()) + 1)
        await sandbox.close_books()

    async def _close_books(self) -> None:
        for sandbox in self._registry:
            await sandbox.close_books()
            await self._records.remove(sandbox.id)
