"""The one public door to sandboxes: who owns which, how many there are, and what runs in them."""

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from socket import socket
from time import monotonic
from typing import Self

import anyio

from lm_sandbox.config import SandboxSettings
from lm_sandbox.errors import Gone, Invalid, NoCapacity, SandboxNotFound, TooLarge
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.commands import CommandRequest, CommandResult, Sink, run_command
from lm_sandbox.sandboxes.driver import MIB, Limits, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.network import Network, Networks
from lm_sandbox.sandboxes.sandbox import NewCommand, NewSandbox, Sandbox, SandboxState

REMEMBERED_DELETIONS = 10_000
RETRY_AFTER_S = 10
BASH = "/bin/bash"


class SandboxService:
    """Makes sandboxes, runs commands in them and deletes them, each for its owner only.

    Args:
        driver: What makes them; entered and left with the service.
        settings: Defaults and bounds.
        networks: Their ways out; without one they have what needs nothing else of the server.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        driver: SandboxDriver,
        settings: SandboxSettings,
        *,
        networks: Networks | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._driver = driver
        self._networks = networks or Networks(driver)
        self._settings = settings
        self._clock = clock
        self._sandboxes: dict[SandboxId, Sandbox] = {}
        self._deleted: OrderedDict[SandboxId, str] = OrderedDict()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Starts the driver and the reaper of idle sandboxes.

        Raises:
            DriverUnavailable: this host cannot isolate; the message says what to do.
        """
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(self._driver)
            await exits.enter_async_context(self._networks)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self._reap_for_ever)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, principal: Principal, new: NewSandbox) -> Sandbox:
        """Makes a sandbox that belongs to the principal and is ready for commands.

        Raises:
            Forbidden: the principal lacks the scope.
            Invalid: a limit is over the server's.
            NoCapacity: as many as allowed exist.
            DriverUnavailable: the host refused.
        """
        principal.require(Scope.SANDBOXES)
        limits = new.limits or self.default_limits()
        self._check_limits(limits)
        sandbox = self._register(principal, new)
        try:
            spec = SandboxSpec(limits=limits, env=dict(new.env))
            enforced = await self._driver.create(sandbox.id, spec)
            await self._networks.set_policy(principal, sandbox.id, new.egress)
            sandbox.enforced = replace(enforced, network=str(new.egress))
        except BaseException:
            del self._sandboxes[sandbox.id]
            with anyio.CancelScope(shield=True):
                await self._networks.close(sandbox.id)
                await self._driver.destroy(sandbox.id)
            raise
        sandbox.state = SandboxState.RUNNING
        return sandbox

    def page(
        self, principal: Principal, *, after: str | None = None, limit: int
    ) -> tuple[list[Sandbox], bool]:
        """Lists the principal's sandboxes, oldest first, and tells whether there are more.

        An admin sees all. `after` is the id that ended the page before.
        """
        principal.require(Scope.SANDBOXES)
        own = [sandbox for sandbox in self._sandboxes.values() if principal.owns(sandbox.owner)]
        ids = [sandbox.id for sandbox in own]
        start = ids.index(SandboxId(after)) + 1 if after in ids else 0
        return own[start : start + limit], len(own) > start + limit

    def get(self, principal: Principal, sandbox_id: str) -> Sandbox:
        """Finds one of the principal's sandboxes.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        principal.require(Scope.SANDBOXES)
        key = SandboxId(sandbox_id)
        sandbox = self._sandboxes.get(key)
        if sandbox is not None and principal.owns(sandbox.owner):
            return sandbox
        if key in self._deleted and principal.owns(self._deleted[key]):
            raise Gone(f"The sandbox {sandbox_id} was deleted.")
        raise SandboxNotFound(f"There is no sandbox {sandbox_id!r}.")

    async def delete(self, principal: Principal, sandbox_id: str) -> None:
        """Ends everything in the sandbox and removes it.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted before.
        """
        await self._remove(self.get(principal, sandbox_id))

    async def run(
        self, principal: Principal, sandbox_id: str, new: NewCommand, sink: Sink | None = None
    ) -> CommandResult:
        """Runs a command to its end; cancelling kills it and all that it started.

        Args:
            principal: The owner.
            sandbox_id: Where to run it.
            new: The command.
            sink: Gets the output as it comes.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            Invalid: a bound is over the server's.
            TooLarge: the command is too long.
            SandboxFailed: the sandbox died.
        """
        sandbox = self.get(principal, sandbox_id)
        request = self._command(sandbox, new)
        with self._in_use(sandbox):
            process = await self._driver.spawn(sandbox.id, request.spec())
            return await run_command(f"cmd_{secrets.token_hex(8)}", process, request, sink)

    async def set_egress(self, principal: Principal, sandbox_id: str, policy: EgressPolicy) -> Sandbox:
        """Changes what a sandbox may reach; connections that are not allowed any more end at once.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            Forbidden: models are asked for, and the principal may not use them itself.
            Conflict: a command has taken the port of the proxy.
            SandboxFailed: the sandbox died.
        """
        sandbox = self.get(principal, sandbox_id)
        await self._networks.set_policy(principal, sandbox.id, policy)
        if sandbox.enforced is not None:
            sandbox.enforced = replace(sandbox.enforced, network=str(policy))
        return sandbox

    def network(self, principal: Principal, sandbox_id: str) -> Network:
        """Tells what a sandbox may reach, and what was refused to it.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
        """
        return self._networks.find(self.get(principal, sandbox_id).id)

    @asynccontextmanager
    async def port(self, principal: Principal, sandbox_id: str, port: int) -> AsyncIterator[socket]:
        """Connects to what listens on a port of the sandbox's own 127.0.0.1.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: the sandbox was deleted.
            SandboxFailed: the sandbox died.
            Unreachable: nothing listens there.
        """
        sandbox = self.get(principal, sandbox_id)
        with self._in_use(sandbox), await self._networks.connect(sandbox.id, port) as connected:
            yield connected

    def default_limits(self) -> Limits:
        """The limits of a sandbox that asks for none, and the most one may ask for."""
        settings = self._settings
        return Limits(
            cpus=settings.cpus,
            memory_bytes=settings.memory_mib * MIB,
            pids=settings.pids,
            disk_bytes=settings.disk_mib * MIB,
            open_files=settings.open_files,
        )

    async def reap(self) -> None:
        """Deletes the sandboxes that nobody used for the idle time-out."""
        oldest = self._clock() - self._settings.idle_timeout_s
        for sandbox in list(self._sandboxes.values()):
            idle = not sandbox.active and sandbox.state is SandboxState.RUNNING
            if idle and sandbox.idle_since <= oldest:
                await self._remove(sandbox)

    async def _reap_for_ever(self) -> None:
        while True:
            await anyio.sleep(min(30.0, self._settings.idle_timeout_s / 2))
            await self.reap()

    async def _remove(self, sandbox: Sandbox) -> None:
        if self._sandboxes.pop(sandbox.id, None) is None:
            return
        self._deleted[sandbox.id] = sandbox.owner
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        with anyio.CancelScope(shield=True):
            await self._networks.close(sandbox.id)
            await self._driver.destroy(sandbox.id)

    def _register(self, principal: Principal, new: NewSandbox) -> Sandbox:
        if len(self._sandboxes) >= self._settings.max_sandboxes:
            raise NoCapacity(
                f"All {self._settings.max_sandboxes} sandboxes are in use; delete one or wait.",
                retry_after_s=RETRY_AFTER_S,
            )
        sandbox_id = SandboxId(f"sb_{secrets.token_hex(8)}")
        now = datetime.now(UTC)
        sandbox = Sandbox(
            id=sandbox_id,
            owner=principal.id,
            name=new.name or sandbox_id,
            metadata=dict(new.metadata),
            created_at=now,
            last_active_at=now,
            idle_since=self._clock(),
        )
        self._sandboxes[sandbox_id] = sandbox
        return sandbox

    @contextmanager
    def _in_use(self, sandbox: Sandbox) -> Iterator[None]:
        sandbox.active += 1
        try:
            yield
        finally:
            sandbox.active -= 1
            sandbox.idle_since = self._clock()
            sandbox.last_active_at = datetime.now(UTC)

    def _command(self, sandbox: Sandbox, new: NewCommand) -> CommandRequest:
        settings = self._settings
        argv = (BASH, "-c", new.command) if isinstance(new.command, str) else new.command
        size = sum(len(word.encode(errors="surrogatepass")) for word in argv)
        if size > settings.max_command_bytes:
            raise TooLarge(
                f"The command has {size} bytes; at most {settings.max_command_bytes} are allowed. "
                "Send long text by stdin.",
                field="command",
            )
        timeout_s = settings.command_timeout_s if new.timeout_s is None else new.timeout_s
        if timeout_s > settings.max_command_timeout_s:
            raise Invalid(
                f"timeout_s may be {settings.max_command_timeout_s:g} at most on this server.",
                field="timeout_s",
            )
        return CommandRequest(
            argv=argv,
            cwd=new.cwd,
            env={**self._networks.env(sandbox.id), **new.env},
            stdin=new.stdin,
            timeout_s=timeout_s,
            max_output_bytes=settings.max_output_bytes,
            output_limit_bytes=settings.output_limit_bytes,
        )

    def _check_limits(self, limits: Limits) -> None:
        most = self.default_limits()
        for name in ("cpus", "memory_bytes", "pids", "disk_bytes", "open_files"):
            if getattr(limits, name) > getattr(most, name):
                raise Invalid(
                    f"{name} may be {getattr(most, name):g} at most on this server.",
                    field=f"limits.{name}",
                )
