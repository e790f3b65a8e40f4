"""Runs every attempt to break out against a driver and tells what came of it."""

import platform
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import anyio

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.commands import CommandRequest, CommandResult, run_command
from lm_sandbox.sandboxes.driver import Enforced, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.egress import EgressMode, EgressPolicy
from lm_sandbox.sandboxes.egress_proxy import DOORS, PROXY_ENV, EgressProxy
from lm_sandbox.sandboxes.events import Events
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.proxying.budget import Budget
from lm_sandbox.sandboxes.proxying.vault import Vault
from lm_sandbox.sandboxes.user import User
from lm_sandbox.sandboxes.verification.attempts import MACHINE, PYTHON, THROUGH, Attempt, attempts_on
from lm_sandbox.sandboxes.verification.bait import Host, bait
from lm_sandbox.sandboxes.verification.egress_attempts import ATTEMPTS as EGRESS_ATTEMPTS
from lm_sandbox.sandboxes.verification.file_attempts import FILE_ATTEMPTS, FileAttempt, make
from lm_sandbox.sandboxes.verification.outside import REACHED, Outside, outside
from lm_sandbox.sandboxes.verification.root_attempts import ROOT_ATTEMPTS

SPEC = SandboxSpec(limits=Limits(memory_bytes=192 * MIB, disk_bytes=32 * MIB, pids=64, open_files=128))
# What the root of a sandbox works on: its own copy of the host's system.
ROOT_SPEC = SandboxSpec(
    limits=Limits(memory_bytes=256 * MIB, disk_bytes=128 * MIB, pids=64, open_files=128), image="host"
)
ATTEMPT_S = 20.0
OUTPUT_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        attempt: What was tried.
        got_through: Whether it broke out.
        well: Whether the sandbox took commands afterwards.
        output: What the attempt wrote.
    """

    attempt: Attempt
    got_through: bool
    well: bool
    output: str

    @property
    def held(self) -> bool:
        """Whether the sandbox held."""
        return self.well and not self.got_through


Try = Callable[[], Awaitable[Outcome]]


def can_verify() -> bool:
    """Whether the attempts know this machine's system calls."""
    return platform.machine() == MACHINE


class Verification:
    """One sandbox in which attempts are made.

    Args:
        driver: A driver that was started.
        host: What the attempts are after.
        sandbox: The id of a sandbox that is made for them.
        user: As whom they are made.
    """

    def __init__(
        self, driver: SandboxDriver, host: Host, sandbox: SandboxId, user: User = User.SANDBOX
    ) -> None:
        self._driver = driver
        self._user = user
        self._host = host
        self._sandbox = sandbox

    async def run(self, attempt: Attempt) -> Outcome:
        """Makes one attempt."""
        tried = await self._command(attempt.script, self._env)
        # Not in standard error: a shell shows there the script of what was killed.
        return await self._outcome(attempt, tried, got_through=THROUGH.encode() in tried.stdout)

    async def run_by_files(self, one: FileAttempt) -> Outcome:
        """Makes one attempt by the file API."""
        self._host.lay()
        tried = await self._command(one.attempt.script, self._env)
        given = await make(one, self._driver.files(self._sandbox), self._host.file)
        after = await self._command(one.after, {})
        told = (
            self._host.secret in given or THROUGH.encode() in after.stdout or (one.made_up and given != b"")
        )
        return await self._outcome(one.attempt, tried, got_through=told or not self._host.untouched)

    async def run_outwards(self, outer: Outside, attempt: Attempt) -> Outcome:
        """Makes one attempt to reach what the egress policy does not allow."""
        before = outer.reached
        tried = await self._command(attempt.script, {**self._env, **PROXY_ENV, **outer.env})
        told = THROUGH.encode() in tried.stdout or outer.reached > before
        return await self._outcome(attempt, tried, got_through=told)

    @asynccontextmanager
    async def way_out(self, outer: Outside) -> AsyncIterator[None]:
        """Lets the sandbox reach what it may, and nothing else.

        Raises:
            Unsupported: the driver's sandboxes have no network, or the image has nothing to use one.
        """
        sockets = await self._driver.listen(self._sandbox, DOORS)
        policy = EgressPolicy.parse(EgressMode.ALLOWLIST, outer.rules)
        proxy = EgressProxy(policy, Events(), outer.resolve, None, Budget.of_this_process(), Vault())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.serve, sockets)
            up = f"curl -sS http://up.test:{outer.up.port}/"
            if REACHED.encode() not in (await self._command(up, PROXY_ENV)).stdout:
                raise Unsupported(
                    "What is allowed is not reached either; the attempts need curl in the image."
                )
            yield
            tasks.cancel_scope.cancel()

    async def require_language(self) -> None:
        """Looks for what the attempts are written in, without which each would be in vain.

        Raises:
            Unsupported: the sandbox's image lacks it.
        """
        if (await self._command(f"{PYTHON} -c ''", {})).exit_code != 0:
            message = f"The attempts need {PYTHON}, which the image lacks; name another in sandbox.image."
            raise Unsupported(message)

    @property
    def _env(self) -> Mapping[str, str]:
        return {"SERVER_FILE": str(self._host.file), "PORT": str(self._host.port)}

    async def _outcome(self, attempt: Attempt, tried: CommandResult, *, got_through: bool) -> Outcome:
        after = await self._command("echo well", {})
        output = (tried.stdout + tried.stderr).decode(errors="replace")
        return Outcome(attempt, got_through, after.stdout == b"well\n", output)

    async def _command(self, script: str, env: Mapping[str, str]) -> CommandResult:
        request = CommandRequest(
            ("/bin/bash", "-c", script),
            timeout_s=ATTEMPT_S,
            max_output_bytes=OUTPUT_BYTES,
            output_limit_bytes=64 * MIB,
            env=dict(env),
            user=self._user,
        )
        process = await self._driver.spawn(self._sandbox, request.spec())
        return await run_command("verify", process, request)


@asynccontextmanager
async def verification(
    driver: SandboxDriver, spec: SandboxSpec = SPEC, user: User = User.SANDBOX
) -> AsyncIterator[tuple[Verification, Enforced]]:
    """Makes a sandbox for attempts, and tells what holds it.

    Args:
        driver: A driver that was started.
        spec: What the sandbox is made from.
        user: As whom the attempts are made.

    Raises:
        DriverUnavailable: the host refused.
    """
    sandbox = SandboxId(f"sb_{secrets.token_hex(8)}")
    with bait() as host:
        enforced = await driver.create(sandbox, spec)
        try:
            yield Verification(driver, host, sandbox, user), enforced
        finally:
            await driver.destroy(sandbox)


@dataclass(frozen=True, slots=True)
class Opened:
    """A sandbox in which attempts can be made.

    Attributes:
        enforced: What holds it.
        tries: The attempts.
    """

    enforced: Enforced
    tries: Sequence[Try]


@dataclass(frozen=True, slots=True)
class Round:
    """Attempts that are made in one sandbox.

    Attributes:
        name: What they are of.
        scripts: What is tried from inside.
        files: What is tried by the file API.
        outwards: What is tried against the egress policy.
        spec: What the sandbox is made from.
        user: As whom they are made.
    """

    name: str
    scripts: Sequence[Attempt] = ()
    files: Sequence[FileAttempt] = ()
    outwards: Sequence[Attempt] = ()
    spec: SandboxSpec = SPEC
    user: User = User.SANDBOX

    def only(self, groups: Collection[str]) -> "Round":
        """Returns the same with the attempts of some groups alone."""
        return replace(
            self,
            scripts=[attempt for attempt in self.scripts if attempt.group in groups],
            files=[one for one in self.files if one.attempt.group in groups],
            outwards=[attempt for attempt in self.outwards if attempt.group in groups],
        )

    @property
    def size(self) -> int:
        """How many attempts there are."""
        return len(self.scripts) + len(self.files) + len(self.outwards)

    @asynccontextmanager
    async def open(self, driver: SandboxDriver) -> AsyncIterator[Opened]:
        """Makes the sandbox.

        Raises:
            DriverUnavailable: the host refused.
            Unsupported: this driver, on this host, has nothing that could be tried, or its image lacks
                what the attempts are written in.
        """
        async with AsyncExitStack() as exits:
            sandbox, enforced = await exits.enter_async_context(verification(driver, self.spec, self.user))
            await sandbox.require_language()
            tries: list[Try] = [partial(sandbox.run, attempt) for attempt in self.scripts]
            if self.files:
                tries += [partial(sandbox.run_by_files, one) for one in self.files]
            if self.outwards:
                outer = await exits.enter_async_context(outside())
                await exits.enter_async_context(sandbox.way_out(outer))
                tries += [partial(sandbox.run_outwards, outer, attempt) for attempt in self.outwards]
            yield Opened(enforced, tries)


def rounds_on(driver: str, *, images: bool) -> list[Round]:
    """Lists what is tried on a driver.

    Args:
        driver: Its name.
        images: Whether its sandboxes can be made of images of ours, and so have a root.
    """
    rounds = [
        Round("from inside", scripts=attempts_on(driver)),
        Round("by the file API", files=FILE_ATTEMPTS),
        Round("against the egress policy", outwards=EGRESS_ATTEMPTS),
    ]
    if images:
        rounds.append(Round("as its own root", scripts=ROOT_ATTEMPTS, spec=ROOT_SPEC, user=User.ROOT))
    return rounds
