"""Terminals for people in sandboxes, each for its owner only."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

import anyio
from anyio.abc import TaskGroup

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.admission import admit_argv
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.inside.scroll_back import Recording
from lm_sandbox.sandboxes.left_terminals import PREFIX, forget, keep, left_terminals
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.sandbox import Sandbox, SandboxState
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.survivors import Survivor
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec
from lm_sandbox.sandboxes.terminal_book import LiveTerminal
from lm_sandbox.sandboxes.terminal_notes import TerminalNotes
from lm_sandbox.sandboxes.user import User
from lm_sandbox.telemetry.happenings import Tell, TerminalOpened, unheard

KIB = 1024


@dataclass(frozen=True, slots=True)
class NewTerminal:
    """A terminal as a caller asks for it: a string is run by bash, a list as it is.

    Attributes:
        command: What to run; None for a login shell.
        cwd: An absolute path inside the sandbox.
        env: Added to the sandbox's variables.
        size: How large it is at first.
        user: Who it runs as.
    """

    command: str | tuple[str, ...] | None = None
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    size: TerminalSize = field(default_factory=TerminalSize)
    user: User = User.SANDBOX


class Terminals:
    """Opens terminals and finds them again; entered after the service and left before it.

    Args:
        service: Knows the sandboxes.
        driver: Opens the terminals.
        networks: Their ways out.
        settings: Bounds.
        tell: Hears of those that are opened.
    """

    def __init__(
        self,
        service: SandboxService,
        driver: SandboxDriver,
        networks: Networks,
        settings: SandboxSettings,
        tell: Tell = unheard,
    ) -> None:
        self._service = service
        self._driver = driver
        self._networks = networks
        self._settings = settings
        self._tell = tell
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(self._tasks.cancel_scope.cancel)
            await self._service.inherit(self._resume)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def open(self, principal: Principal, sandbox_id: str, new: NewTerminal) -> LiveTerminal:
        """Starts a program on a new terminal; it goes on whether somebody looks at it or not.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            Conflict: the sandbox does not run.
            TooLarge: the command is too long.
            QuotaReached: the sandbox has as many as allowed.
            NoCapacity: the host has none left.
            SandboxFailed: the sandbox died.
        """
        if self._tasks is None:
            raise RuntimeError("the terminals are used outside their context")
        sandbox = self._service.get(principal, sandbox_id)
        spec = self._admitted(sandbox, new)
        # So that it is neither halted nor ended meanwhile, nor gets more than it may.
        async with sandbox.changing:
            sandbox.require(SandboxState.RUNNING)
            if (forgotten := sandbox.terminals.make_room(self._settings.max_terminals)) is not None:
                await forget(self._driver, sandbox.id, forgotten.id)
            with self._service.in_use(sandbox), sandbox.noting_failure():
                terminal = await self._open(sandbox, spec)
            sandbox.terminals.add(terminal)
        self._tasks.start_soon(self._see_through, sandbox, terminal)
        opened_now = TerminalOpened(
            who=principal.id,
            name=principal.name,
            sandbox=sandbox.id,
            terminal=terminal.id,
            text=spec.argv,
            cwd=spec.cwd,
        )
        self._tell(opened_now)
        return terminal

    def find(self, principal: Principal, sandbox_id: str, terminal_id: str) -> LiveTerminal:
        """Finds a terminal that is open, or one of the last that ended.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            TerminalNotFound: the sandbox has none of this id, or it is forgotten.
        """
        return self._service.get(principal, sandbox_id).terminals.find(terminal_id)

    def page(
        self, principal: Principal, sandbox_id: str, *, after: str | None = None, limit: int
    ) -> tuple[list[LiveTerminal], bool]:
        """Lists the terminals, oldest first, and tells whether there are more."""
        return self._service.get(principal, sandbox_id).terminals.page(after, limit)

    @contextmanager
    def attend(self, principal: Principal, sandbox_id: str, terminal_id: str) -> Iterator[LiveTerminal]:
        """Finds a terminal for somebody who looks at it; the sandbox is in use meanwhile.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            TerminalNotFound: the sandbox has none of this id, or it is forgotten.
            QuotaReached: as many as allowed look at it.
        """
        sandbox = self._service.get(principal, sandbox_id)
        terminal = sandbox.terminals.find(terminal_id)
        with terminal.viewed(self._settings.max_terminal_viewers), self._service.in_use(sandbox):
            yield terminal

    async def close(self, principal: Principal, sandbox_id: str, terminal_id: str) -> None:
        """Ends the program with all that it started, and forgets the terminal.

        Raises:
            SandboxNotFound: the principal has no sandbox of this id.
            Gone: the sandbox was deleted.
            TerminalNotFound: the sandbox has none of this id, or it is forgotten.
            Conflict: the sandbox is paused.
        """
        sandbox = self._service.get(principal, sandbox_id)
        terminal = sandbox.terminals.find(terminal_id)
        if terminal.running:
            sandbox.require(SandboxState.RUNNING, SandboxState.STOPPED)
            await terminal.end()
        sandbox.terminals.forget(terminal)
        await forget(self._driver, sandbox.id, terminal.id)

    async def _open(self, sandbox: Sandbox, spec: TerminalSpec) -> LiveTerminal:
        spec = replace(spec, name=f"{PREFIX}{secrets.token_hex(8)}")
        recording = Recording.new(self._settings.scroll_back_kib * KIB)
        notes = TerminalNotes.new(spec, datetime.now(UTC))
        terminal = LiveTerminal(str(spec.name), notes, None, recording, lambda: self._touch(sandbox))
        try:
            # First, so that none is ever there of which nothing is known.
            await keep(self._driver, sandbox.id, terminal)
            opened = await self._driver.open_terminal(sandbox.id, spec)
        except BaseException:
            terminal.close()
            with anyio.CancelScope(shield=True), suppress(LmSandboxError):
                await forget(self._driver, sandbox.id, terminal.id)
            raise
        return LiveTerminal(terminal.id, notes, opened, recording, terminal.touch)

    async def _resume(self, found: Survivor) -> None:
        if found.left is None or self._tasks is None:
            return
        sandbox = found.sandbox
        for terminal in await left_terminals(found.left, lambda: self._touch(sandbox)):
            sandbox.terminals.add(terminal)
            if terminal.running:
                self._tasks.start_soon(self._see_through, sandbox, terminal)

    async def _see_through(self, sandbox: Sandbox, terminal: LiveTerminal) -> None:
        try:
            with sandbox.noting_failure():
                await terminal.run()
        except LmSandboxError:
            return  # It is told by the terminal itself.

    def _touch(self, sandbox: Sandbox) -> None:
        with self._service.in_use(sandbox):
            return

    def _admitted(self, sandbox: Sandbox, new: NewTerminal) -> TerminalSpec:
        env = {**self._networks.env(sandbox.id), **new.env}
        spec = TerminalSpec(cwd=new.cwd, env=env, size=new.size, user=new.user)
        if new.command is None:
            return spec
        return replace(spec, argv=admit_argv(new.command, self._settings))
