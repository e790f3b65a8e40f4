"""The one public door to sandboxes: who owns which, how many there are, and what runs in them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Self

import anyio

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.admission import default_limits
from lm_sandbox.sandboxes.changing import Changing
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.command_runner import CommandRunner, Spawn
from lm_sandbox.sandboxes.command_work import CommandWork
from lm_sandbox.sandboxes.commands import CommandResult, Sink
from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, Stats
from lm_sandbox.sandboxes.events import Events
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.gpus import Gpus
from lm_sandbox.sandboxes.holders import Holders
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.making import Making
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox import Change, NewCommand, NewSandbox, Sandbox, SandboxState, Selection
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.survivors import Estate, Survivor
from lm_sandbox.sandboxes.upkeep import Heir, Upkeep
from lm_sandbox.sandboxes.volume_store import VolumeStore
from lm_sandbox.sandboxes.witness import Witness
from lm_sandbox.storage.servers import Servers
from lm_sandbox.telemetry.happenings import Tell, unheard


class SandboxService:
    """Makes sandboxes, runs commands in them and deletes them, each for its owner only.

    Attributes:
        runner: Starts programs in them.
        holders: Tell which process has which.

    Args:
        driver: What makes them; entered and left with the service.
        settings: Defaults and bounds.
        snapshots: Keeps the saved files of sandboxes.
        records: Keeps what other servers have to know of sandboxes.
        spool: A folder for long outputs.
        networks: Their ways out.
        tell: Hears what happens.
        shares: How much each principal takes.
        gpus: Lent to those that ask.
        servers: The other processes over the same data; None for none.
        volumes: What sandboxes may have mounted; None for nothing.
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
        gpus: Gpus | None = None,
        servers: Servers | None = None,
        volumes: VolumeStore | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        networks = networks or Networks(driver)
        registry = SandboxRegistry(settings, spool, clock)
        self.runner = CommandRunner(driver, networks, settings)
        shares = shares or Shares()
        witness = Witness(tell, driver.name, self.runner, shares)
        gpus = gpus or Gpus(settings)
        self._estate = Estate(driver, records, registry)
        self.holders = Holders(registry, records, servers, self._estate, self._succeed)
        self._fleet = Fleet(
            driver, settings, registry, records, self.holders, networks, witness, shares, gpus, clock
        )
        self._spool = spool
        self._making = Making(self._fleet, snapshots, volumes)
        self._changing = Changing(self._fleet)
        self._work = CommandWork(self._fleet)
        self._upkeep = Upkeep(self._fleet, self._making, self._work, spool)
        self._exits = AsyncExitStack()

    async def inherit(self, heir: Heir) -> None:
        """Lets somebody take over what is his of the sandboxes that dead servers have left and will leave."""
        for found in self._upkeep.survivors:
            await heir(found)
        self._upkeep.survivors.clear()
        self._upkeep.heirs.append(heir)

    async def __aenter__(self) -> Self:
        """Starts the driver and the reaper of idle sandboxes.

        Raises:
            DriverUnavailable: this host cannot isolate; the message says what to do.
        """
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(self._fleet.driver)
            await exits.enter_async_context(self._fleet.networks)
            exits.push_async_callback(self._upkeep.close_books)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            self._work.own(tasks)
            self._fleet.gpus.own(tasks)
            self._estate.own(tasks)
            await self.holders.take_over()
            tasks.start_soon(self.holders.watch_for_ever)
            await self._upkeep.sweep()
            tasks.start_soon(self._upkeep.reap_for_ever)
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
            NoCapacity: as many as allowed exist, or a model on a GPU is still answering.
            QuotaReached: the principal has as many, or had them for as long, as it may.
            Unsupported: this host gives no sandbox an image, has no GPU, or cannot hold a limit.
            DriverUnavailable: the host refused.
        """
        principal.require(Scope.SANDBOXES)
        return await self._making.make(principal, new)

    async def page(
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
        chosen = selection or Selection()
        elsewhere = await self.holders.elsewhere(principal, chosen.name)
        return self._fleet.registry.page(principal, chosen, after, limit, elsewhere)

    def get(self, principal: Principal, sandbox_id: str) -> Sandbox:
        """Finds one of the principal's sandboxes.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        return self._fleet.registry.find(principal, sandbox_id)

    async def find(self, principal: Principal, sandbox_id: str) -> Sandbox:
        """Finds one of the principal's sandboxes, wherever it is; raises as `get` does.

        Raises:
            HeldElsewhere: another process has it.
        """
        await self.holders.require_here(sandbox_id)
        return self.get(principal, sandbox_id)

    async def change(self, principal: Principal, sandbox_id: str, change: Change) -> Sandbox:
        """Changes what can be changed while it lives.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
            Conflict: another sandbox of the principal has the name, or a command the port of the proxy.
            Forbidden: models are to be reached from inside, and the principal may not use them itself.
            Invalid: a time or a limit is over the server's, or cannot be changed while it lives.
            LimitInUse: it uses more than that.
            Unsupported: this host cannot hold a limit, or cannot change it.
            SandboxFailed: it died.
        """
        sandbox = self.get(principal, sandbox_id)
        await self._changing.change(principal, sandbox, change)
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
        await self._changing.set_state(sandbox, state)
        return sandbox

    async def stats(self, principal: Principal, sandbox_id: str) -> Stats:
        """Tells what a sandbox uses now.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        return await self._fleet.driver.stats(self.get(principal, sandbox_id).id)

    async def delete(self, principal: Principal, sandbox_id: str) -> None:
        """Ends everything in the sandbox and removes it.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted before.
        """
        await self._making.remove(self.get(principal, sandbox_id), "deleted")

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
            NoCapacity: too many wait to be started.
            SandboxFailed: the sandbox died.
        """
        return await self._work.run(principal, self.get(principal, sandbox_id), new, sink, spawn)

    async def start(
        self, principal: Principal, sandbox_id: str, new: NewCommand, spawn: Spawn | None = None
    ) -> Command:
        """Starts a command that goes on by itself; raises as `run` does."""
        return await self._work.start(principal, self.get(principal, sandbox_id), new, spawn)

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
        return self._fleet.networks.find(self.get(principal, sandbox_id).id).events

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
            yield self._fleet.witness.files(principal, sandbox, self._fleet.driver.files(sandbox.id))

    def states(self) -> dict[SandboxState, int]:
        """Counts all sandboxes by state, for who runs the server."""
        return self._fleet.registry.states()

    def default_limits(self) -> Limits:
        """The limits of a sandbox that asks for none, and the most one may ask for."""
        return default_limits(self._fleet.settings)

    def in_use(self, sandbox: Sandbox) -> AbstractContextManager[None]:
        """Keeps a sandbox from being idle."""
        return sandbox.in_use(self._fleet.clock)

    async def reap(self) -> None:
        """Deletes the sandboxes whose time is over."""
        await self._upkeep.reap()

    async def _succeed(self, found: Survivor) -> None:
        await self._upkeep.succeed(found)
