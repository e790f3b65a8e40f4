"""Starts commands in sandboxes, with all that they are to have."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.sandboxes.admission import admit_command
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.process import CommandSpec, Process
from lm_sandbox.sandboxes.sandbox import NewCommand, Sandbox, SandboxState

Spawn = Callable[[Sandbox, CommandSpec], Awaitable[Process]]


class CommandRunner:
    """Starts programs in sandboxes that run.

    Args:
        driver: Starts them.
        networks: Know the variables that lead to what a sandbox may reach.
        settings: Bounds.
    """

    def __init__(self, driver: SandboxDriver, networks: Networks, settings: SandboxSettings) -> None:
        self._driver = driver
        self._networks = networks
        self._settings = settings

    async def spawn(self, sandbox: Sandbox, command: CommandSpec) -> Process:
        """Starts a program with the variables of the sandbox's network.

        Raises:
            Conflict: the sandbox does not run.
            SandboxFailed: it died.
        """
        sandbox.require(SandboxState.RUNNING)
        with sandbox.noting_failure():
            env = {**self._networks.env(sandbox.id), **command.env}
            return await self._driver.spawn(sandbox.id, replace(command, env=env))

    async def begin(self, sandbox: Sandbox, new: NewCommand, spawn: Spawn | None = None) -> Command:
        """Starts a command and enters it into the sandbox's book.

        Raises:
            Conflict: the sandbox does not run.
            Invalid: a bound is over the server's.
            TooLarge: the command is too long.
            NoCapacity: the server's disk does not take its record.
            SandboxFailed: the sandbox died.
        """
        request = admit_command(new, self._settings)
        sandbox.require(SandboxState.RUNNING)
        command_id = f"cmd_{secrets.token_hex(8)}"
        name = command_id if request.lasting else None
        process = await (spawn or self.spawn)(sandbox, replace(request.spec(), name=name))
        if request.lasting:
            return await sandbox.commands.open_lasting(command_id, request, process)
        return sandbox.commands.open(command_id, request, process)
