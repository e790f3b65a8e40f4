"""Tells of what happens in sandboxes, as it happens, to who listens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.command_runner import CommandRunner, Spawn
from lm_sandbox.sandboxes.commands import CommandResult, Sink
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.sandbox import NewCommand, Sandbox
from lm_sandbox.sandboxes.witnessed_files import WitnessedFiles
from lm_sandbox.telemetry.happenings import (
    CommandEnded,
    CommandStarted,
    FilesTouched,
    SandboxGone,
    SandboxMade,
    Tell,
)

CANCELLED = "cancelled"


class Witness:
    """Tells for one service.

    Args:
        tell: Who listens.
        driver: The name of what makes the sandboxes.
        runner: Starts commands in them.
        shares: Give each principal its turn to start one.
    """

    def __init__(self, tell: Tell, driver: str, runner: CommandRunner, shares: Shares) -> None:
        self._tell = tell
        self._runner = runner
        self._shares = shares
        self._driver = driver

    @contextmanager
    def making(self, principal: Principal, sandbox: Sandbox) -> Iterator[None]:
        """Sees a sandbox being made."""
        started, outcome = perf_counter(), CANCELLED
        try:
            yield
            outcome = "ok"
        except LmSandboxError as error:
            outcome = error.code
            raise
        finally:
            self._tell(
                SandboxMade(
                    who=principal.id,
                    name=principal.name,
                    sandbox=sandbox.id,
                    driver=self._driver,
                    outcome=outcome,
                    duration_ms=_since(started),
                    volumes=tuple(mount.id for mount in sandbox.mounts),
                )
            )

    def gone(self, sandbox: Sandbox, reason: str) -> None:
        """Says that a sandbox was deleted."""
        self._tell(SandboxGone(who=sandbox.owner, sandbox=sandbox.id, reason=reason))

    def files(self, principal: Principal, sandbox: Sandbox, files: SandboxFiles) -> SandboxFiles:
        """Gives files to all of whose uses it is a witness."""
        return WitnessedFiles(files, partial(self.touching, principal, sandbox))

    async def begin(
        self, principal: Principal, sandbox: Sandbox, new: NewCommand, spawn: Spawn | None
    ) -> Command:
        """Starts a command in its turn, as the runner does."""
        async with self._shares.starting(principal):
            started = perf_counter()
            command = await self._runner.begin(sandbox, new, spawn)
        self._tell(
            CommandStarted(
                who=principal.id,
                name=principal.name,
                sandbox=sandbox.id,
                command=command.id,
                text=new.command,
                cwd=new.cwd,
                env=tuple(new.env),
                driver=self._driver,
                spawn_ms=_since(started),
            )
        )
        return command

    async def see_through(
        self, sandbox: Sandbox, command: Command, sink: Sink | None = None
    ) -> CommandResult:
        """Waits for the end of a command, as it does itself, and tells of it."""
        started, outcome = perf_counter(), CANCELLED
        result: CommandResult | None = None
        try:
            result = await command.run(sink)
            outcome = _outcome(result)
        except LmSandboxError as error:
            outcome = error.code
            raise
        finally:
            self._tell(
                CommandEnded(
                    who=sandbox.owner,
                    sandbox=sandbox.id,
                    command=command.id,
                    driver=self._driver,
                    outcome=outcome,
                    duration_ms=result.duration_ms if result else _since(started),
                    exit_code=result.exit_code if result else None,
                    signal=result.signal if result else None,
                    limits=tuple(result.limits) if result else (),
                )
            )
        return result

    @asynccontextmanager
    async def touching(
        self, principal: Principal, sandbox: Sandbox, operation: str, path: str, to: str = ""
    ) -> AsyncIterator[None]:
        """Sees files being read or changed."""
        started, outcome = perf_counter(), "ok"
        try:
            yield
        except LmSandboxError as error:
            outcome = error.code
            raise
        except anyio.get_cancelled_exc_class():
            outcome = CANCELLED
            raise
        finally:
            self._tell(
                FilesTouched(
                    who=principal.id,
                    name=principal.name,
                    sandbox=sandbox.id,
                    operation=operation,
                    path=path,
                    to=to,
                    outcome=outcome,
                    duration_ms=_since(started),
                )
            )


def _outcome(result: CommandResult) -> str:
    if result.limits:
        return "limited"
    if result.signal is not None:
        return "killed"
    return "failed" if result.exit_code else "ok"


def _since(started: float) -> float:
    return (perf_counter() - started) * 1000
