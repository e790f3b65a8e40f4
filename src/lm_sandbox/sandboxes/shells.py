"""The shells of sandboxes: making them, running commands in them, ending them."""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Self

import anyio
from anyio.abc import TaskGroup

from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.process import CommandSpec, Process
from lm_sandbox.sandboxes.sandbox import NewCommand, Sandbox
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.shell import Shell
from lm_sandbox.sandboxes.shell_notes import About, ShellNotes
from lm_sandbox.sandboxes.user import User


@dataclass(frozen=True, slots=True)
class NewShell:
    """What a caller asks for.

    Attributes:
        cwd: The folder that it starts in.
        env: Added to the sandbox's variables.
        user: Who it runs as.
    """

    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    user: User = User.SANDBOX


class Shells:
    """Keeps shells in sandboxes, each for its owner only; entered and left inside the service.

    Args:
        service: Knows the sandboxes and runs the commands.
        driver: Keeps what another server has to know.
    """

    def __init__(self, service: SandboxService, driver: SandboxDriver) -> None:
        self._service = service
        self._driver = driver
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(self._tasks.cancel_scope.cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def open(self, principal: Principal, sandbox_id: str, new: NewShell) -> Shell:
        """Makes a shell.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            Conflict: the sandbox does not run.
            QuotaReached: it has as many shells as it may.
            Unsupported: the driver has no way to talk to one, or the sandbox no root.
            SandboxFailed: the sandbox died.
        """
        if self._tasks is None:
            raise RuntimeError("the shells are used outside their context")
        sandbox = self._service.get(principal, sandbox_id)
        notes = ShellNotes.new(About(new.env, new.user, datetime.now(UTC)), new.cwd)
        shell = Shell(f"sh_{secrets.token_hex(8)}", notes, self._tasks)
        try:
            sandbox.shells.add(shell)
            with self._service.in_use(sandbox):
                await self._driver.keep(sandbox.id, shell.id, notes.notebook.file)
                await shell.start(partial(self._service.runner.spawn, sandbox))
        except BaseException:
            sandbox.shells.remove(shell)
            with anyio.CancelScope(shield=True):
                await shell.drop()
            raise
        return shell

    def find(self, principal: Principal, sandbox_id: str, shell_id: str) -> Shell:
        """Finds a shell.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            ShellNotFound: the sandbox has no such shell.
        """
        return self._service.get(principal, sandbox_id).shells.find(shell_id)

    def page(
        self, principal: Principal, sandbox_id: str, *, after: str | None = None, limit: int
    ) -> tuple[list[Shell], bool]:
        """Lists the shells of a sandbox, oldest first, and tells whether there are more."""
        return self._service.get(principal, sandbox_id).shells.page(after, limit)

    async def run(
        self, principal: Principal, sandbox_id: str, shell: Shell, new: NewCommand
    ) -> CommandResult:
        """Runs a command in a shell, after those that were sent before; cancelling ends it.

        Raises:
            Gone: the shell or its sandbox was deleted.
            Conflict: the sandbox does not run.
            Invalid: a bound is over the server's.
            TooLarge: the command is too long.
            SandboxFailed: the sandbox died.
        """
        new = replace(new, cwd=shell.cwd)
        return await self._service.run(principal, sandbox_id, new, spawn=partial(self._begin, shell))

    async def start(self, principal: Principal, sandbox_id: str, shell: Shell, new: NewCommand) -> Command:
        """Starts a command that goes on by itself; raises as `run` does."""
        new = replace(new, cwd=shell.cwd)
        return await self._service.start(principal, sandbox_id, new, spawn=partial(self._begin, shell))

    async def close(self, principal: Principal, sandbox_id: str, shell: Shell) -> None:
        """Ends a shell with all that it started."""
        sandbox = self._service.get(principal, sandbox_id)
        sandbox.shells.remove(shell)
        await shell.end()
        await self._driver.keep(sandbox.id, shell.id, None)

    async def _begin(self, shell: Shell, sandbox: Sandbox, command: CommandSpec) -> Process:
        spawn = partial(self._service.runner.spawn, sandbox)
        return await shell.begin(command.argv[-1], spawn, command.name)
