"""A sandbox as callers know it, and what they may ask for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import anyio

from lm_sandbox.errors import Conflict, SandboxFailed
from lm_sandbox.sandboxes.command_book import CommandBook
from lm_sandbox.sandboxes.driver import Enforced, RunState, SandboxId
from lm_sandbox.sandboxes.egress import NOTHING, EgressPolicy
from lm_sandbox.sandboxes.gpus import Asked
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.limits import LimitChange, Limits
from lm_sandbox.sandboxes.mounts import AskedMount, VolumeMount
from lm_sandbox.sandboxes.nvidia import GpuDevice
from lm_sandbox.sandboxes.secrets import DomainSecret
from lm_sandbox.sandboxes.shell_book import ShellBook
from lm_sandbox.sandboxes.terminal_book import TerminalBook
from lm_sandbox.sandboxes.user import User


class SandboxState(StrEnum):
    """Where a sandbox is in its life; a deleted one is only remembered by its id."""

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a sandbox is deleted by itself; None for the server's own time.

    Attributes:
        idle_timeout_s: After so long without use.
        max_age_s: So long after it was made, used or not.
    """

    idle_timeout_s: float | None = None
    max_age_s: float | None = None

    def over(self, other: "Lifetime") -> "Lifetime":
        """Fills what was left out from another one."""
        return Lifetime(self.idle_timeout_s or other.idle_timeout_s, self.max_age_s or other.max_age_s)


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a caller asks for; what is left out is the server's default.

    Attributes:
        name: For people; unique among the caller's sandboxes.
        env: Variables of every command.
        metadata: The caller's own, kept and given back.
        limits: None takes the server's.
        snapshot: The snapshot whose files it starts with.
        lifetime: When it goes by itself.
        egress: What it may reach.
        image: Its root file system; None takes the server's default.
        secrets: What it uses in requests without having it.
        gpus: How many GPUs it has, or which.
        mounts: The volumes that it is to have.
    """

    name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    snapshot: str | None = None
    lifetime: Lifetime = Lifetime()
    egress: EgressPolicy = NOTHING
    image: str | None = None
    secrets: tuple[DomainSecret, ...] = ()
    gpus: Asked = 0
    mounts: tuple[AskedMount, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed in a sandbox; None leaves it.

    Attributes:
        name: The new name.
        metadata: The new metadata, in place of all the old.
        lifetime: The new times.
        egress: What it may reach from now on.
        limits: What it may use from now on.
    """

    name: str | None = None
    metadata: Mapping[str, str] | None = None
    lifetime: Lifetime = Lifetime()
    egress: EgressPolicy | None = None
    limits: LimitChange | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sandboxes are listed; None takes any.

    Attributes:
        name: The exact name.
        state: The state.
        metadata: Entries that must all be there.
    """

    name: str | None = None
    state: SandboxState | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def takes(self, sandbox: "Sandbox") -> bool:
        """Whether a sandbox is one of them."""
        return (
            self.name in {None, sandbox.name}
            and self.state in {None, sandbox.state}
            and self.metadata.items() <= sandbox.metadata.items()
        )


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A command as a caller asks for it: a string is run by bash, a list as it is.

    Attributes:
        command: What to run.
        cwd: An absolute path inside the sandbox.
        env: Added to the sandbox's variables.
        stdin: Fed to the program.
        keep_stdin_open: Whether more input may follow.
        timeout_s: Wall time after which it is ended.
        detach: Whether ending it spares what has left its process group.
        lasting: Whether it goes on when the server is killed.
        checkpoint: The snapshot of the files as they were before it.
        user: Who it runs as.
    """

    command: str | tuple[str, ...]
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | None = None
    keep_stdin_open: bool = False
    timeout_s: float | None = None
    detach: bool = False
    lasting: bool = False
    checkpoint: str | None = None
    user: User = User.SANDBOX


@dataclass(slots=True)
class Sandbox:
    """A sandbox as the service keeps it.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        name: For people.
        metadata: The caller's own.
        made: When it was made.
        used: When it was last used.
        born: The service's clock when it was made.
        idle_since: The service's clock at the last use.
        lifetime: When it goes by itself.
        egress: What it may reach.
        image: What was asked for as its root file system; None for the server's default.
        commands: Those that run and ran in it.
        shells: Those that stay in it.
        terminals: Those that are open in it.
        state: Where it is in its life.
        limits: What it may use.
        gpus: Those that are lent to it.
        mounts: The volumes in it.
        enforced: What holds it; None while it is made.
        secrets: What it uses in requests without having it; no record has them.
        recorded: Its last use as far as another server would know.
        active: Commands and transfers that run now.
        counted_to: The service's clock up to which its time has been charged; None for from its making.
        changing: Held while its state changes.
    """

    id: SandboxId
    owner: str
    name: str
    metadata: Mapping[str, str]
    made: Instant
    used: Instant
    born: float
    idle_since: float
    lifetime: Lifetime
    commands: CommandBook
    shells: ShellBook
    terminals: TerminalBook = field(default_factory=TerminalBook)
    state: SandboxState = SandboxState.CREATING
    egress: EgressPolicy = NOTHING
    image: str | None = None
    limits: Limits = field(default_factory=Limits)
    gpus: tuple[GpuDevice, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    enforced: Enforced | None = None
    secrets: tuple[DomainSecret, ...] = ()
    recorded: Instant = field(default_factory=Instant.now)
    active: int = 0
    counted_to: float | None = None
    changing: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def created_at(self) -> datetime:
        """When it was made, by the host's clock."""
        return self.made.wall

    @property
    def last_active_at(self) -> datetime:
        """When it was last used, by the host's clock."""
        return self.used.wall

    def require(self, *states: SandboxState) -> None:
        """Refuses what another state does not allow.

        Raises:
            Conflict: it is in none of these states.
        """
        if self.state not in states:
            wanted = " or ".join(states)
            raise Conflict(f"The sandbox is {self.state}; this needs it to be {wanted}.")

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Marks it as failed when it turns out to be."""
        try:
            yield
        except SandboxFailed:
            self.state = SandboxState.FAILED
            raise

    def take_seconds(self, now: float) -> int:
        """Returns for how many whole seconds its processes could run since the last time this was asked."""
        since = self.born if self.counted_to is None else self.counted_to
        seconds = int(now - since)
        self.counted_to = since + seconds
        return 0 if self.state in {SandboxState.STOPPED, SandboxState.FAILED} else seconds

    @contextmanager
    def in_use(self, clock: Callable[[], float]) -> Iterator[None]:
        """Keeps it from being idle."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self.idle_since = clock()
            self.used = Instant.now()

    async def close_books(self) -> None:
        """Lets go of its commands, shells and terminals."""
        self.commands.close()
        self.terminals.drop()
        await self.shells.drop()

    def is_over(self, now: float) -> bool:
        """Whether it has lived or idled for long enough."""
        age_s, idle_s = self.lifetime.max_age_s, self.lifetime.idle_timeout_s
        if age_s is not None and now - self.born >= age_s:
            return True
        return idle_s is not None and not self.active and now - self.idle_since >= idle_s


# From which states each state of the processes can be asked for.
ALLOWED_FROM = {
    RunState.RUNNING: (SandboxState.PAUSED, SandboxState.STOPPED),
    RunState.PAUSED: (SandboxState.RUNNING,),
    RunState.STOPPED: (SandboxState.RUNNING, SandboxState.PAUSED),
}
