"""The commands at work: counted against shares, kept in use and seen to their ends."""

import logging
from contextlib import ExitStack, suppress

from anyio.abc import TaskGroup

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.command_runner import Spawn
from lm_sandbox.sandboxes.commands import CommandResult, Sink
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.sandbox import NewCommand, Sandbox

LOG = logging.getLogger(__name__)


class CommandWork:
    """Has commands run in sandboxes.

    Args:
        fleet: Where they are.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tasks: TaskGroup | None = None

    def own(self, tasks: TaskGroup) -> None:
        """Says what holds the commands that go on by themselves."""
        self._tasks = tasks

    async def run(
        self,
        principal: Principal,
        sandbox: Sandbox,
        new: NewCommand,
        sink: Sink | None = None,
        spawn: Spawn | None = None,
    ) -> CommandResult:
        """Runs a command to its end; raises as `SandboxService.run` does."""
        fleet = self._fleet
        await fleet.shares.check_seconds(principal)
        with fleet.shares.command(principal), sandbox.in_use(fleet.clock), sandbox.noting_failure():
            command = await fleet.witness.begin(principal, sandbox, new, spawn)
            return await fleet.witness.see_through(sandbox, command, sink)

    async def start(
        self, principal: Principal, sandbox: Sandbox, new: NewCommand, spawn: Spawn | None = None
    ) -> Command:
        """Starts a command that goes on by itself; raises as `SandboxService.run` does."""
        fleet = self._fleet
        await fleet.shares.check_seconds(principal)
        with ExitStack() as held, sandbox.noting_failure():
            held.enter_context(fleet.shares.command(principal))
            command = await fleet.witness.begin(principal, sandbox, new, spawn)
            self.watch(sandbox, command, held.pop_all())
        return command

    def watch(self, sandbox: Sandbox, command: Command, held: ExitStack) -> None:
        """Sees a command that runs to its end, and then lets go of what is held for it."""
        if self._tasks is None:
            raise RuntimeError("the service is used outside its context")
        self._tasks.start_soon(self._see_through, sandbox, command, held)

    async def _see_through(self, sandbox: Sandbox, command: Command, held: ExitStack) -> None:
        # What goes wrong is told by the command itself.
        with held, sandbox.in_use(self._fleet.clock), suppress(LmSandboxError), sandbox.noting_failure():
            try:
                await self._fleet.witness.see_through(sandbox, command)
            except LmSandboxError:
                raise
            except Exception:  # One command that cannot be followed must not end what sees to all the others.
                LOG.exception("A command could not be seen to its end.")
