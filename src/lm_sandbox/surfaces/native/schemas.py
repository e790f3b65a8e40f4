"""The shapes of the native surface."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.driver import MIB, Limits
from lm_sandbox.sandboxes.egress import MOST_RULES, EgressMode, EgressPolicy
from lm_sandbox.sandboxes.sandbox import NewCommand, NewSandbox, Sandbox

Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\w][\w .:@-]*$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, Field(max_length=32_768, pattern=r"^[^\x00]*$")]
Env = Annotated[dict[EnvName, EnvValue], Field(max_length=256)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class Body(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class LimitsBody(Body):
    """Limits below the server's own."""

    cpus: float | None = Field(None, gt=0, description="CPU cores")
    memory_mib: int | None = Field(None, ge=16, description="memory in MiB")
    pids: int | None = Field(None, ge=4, description="processes and threads")
    disk_mib: int | None = Field(None, ge=1, description="writable bytes in MiB")
    open_files: int | None = Field(None, ge=16, description="descriptors per process")

    def over(self, default: Limits) -> Limits:
        """Fills what was left out from the default."""
        return Limits(
            cpus=self.cpus or default.cpus,
            memory_bytes=self.memory_mib * MIB if self.memory_mib else default.memory_bytes,
            pids=self.pids or default.pids,
            disk_bytes=self.disk_mib * MIB if self.disk_mib else default.disk_bytes,
            open_files=self.open_files or default.open_files,
        )


class EgressBody(Body):
    """What a sandbox may reach."""

    mode: EgressMode = EgressMode.DISABLED
    allow: list[Annotated[str, Field(max_length=512)]] = Field(
        default_factory=list,
        max_length=MOST_RULES,
        description="names, '*.' and a domain, or addresses; ports 80 and 443 unless given after a colon",
        examples=[["pypi.org", "*.pythonhosted.org", "github.com:22,443"]],
    )
    models: bool = Field(False, description="this server's models, by OPENAI_BASE_URL and OPENAI_API_KEY")

    def to_policy(self) -> EgressPolicy:
        """Returns what the service takes."""
        return EgressPolicy.parse(self.mode, self.allow, models=self.models)

    @classmethod
    def of(cls, policy: EgressPolicy) -> Self:
        """Renders a policy."""
        return cls(mode=policy.mode, allow=[str(rule) for rule in policy.rules], models=policy.models)


class SandboxCreate(Body):
    """Everything has a default: `{}` makes a sandbox."""

    name: Name | None = None
    env: Env = Field(default_factory=dict, description="variables of every command")
    metadata: Metadata = Field(default_factory=dict, description="kept and given back")
    limits: LimitsBody | None = None
    egress: EgressBody = Field(default_factory=EgressBody, description="nothing by default")

    def to_new(self, default: Limits) -> NewSandbox:
        """Returns what the service takes."""
        return NewSandbox(
            name=self.name,
            env=self.env,
            metadata=self.metadata,
            limits=self.limits.over(default) if self.limits else None,
            egress=self.egress.to_policy(),
        )


class EnforcedOut(BaseModel):
    """What holds the sandbox, as set up and not as asked for."""

    driver: str
    user: str
    host_uid: int
    network: str
    seccomp: bool
    limits: dict[str, str]


class SandboxOut(BaseModel):
    """A sandbox."""

    id: str
    name: str
    state: str
    metadata: dict[str, str]
    created_at: datetime
    last_active_at: datetime
    enforced: EnforcedOut | None

    @classmethod
    def of(cls, sandbox: Sandbox) -> Self:
        """Renders a sandbox."""
        enforced = sandbox.enforced
        return cls(
            id=sandbox.id,
            name=sandbox.name,
            state=sandbox.state,
            metadata=dict(sandbox.metadata),
            created_at=sandbox.created_at,
            last_active_at=sandbox.last_active_at,
            enforced=enforced
            and EnforcedOut(
                driver=enforced.driver,
                user=enforced.user,
                host_uid=enforced.host_uid,
                network=enforced.network,
                seccomp=enforced.seccomp,
                limits=dict(enforced.limits),
            ),
        )


class SandboxList(BaseModel):
    """A page of sandboxes; `next_after` goes into `after` for the next one."""

    data: list[SandboxOut]
    next_after: str | None


class CommandCreate(Body):
    """A command; a string is run by bash, a list as it is."""

    command: Text | Annotated[list[Text], Field(min_length=1)] = Field(examples=["echo hi"])
    cwd: str = Field("/workspace", pattern=r"^/[^\x00]*$", max_length=4096)
    env: Env = Field(default_factory=dict)
    stdin: str | None = None
    timeout_s: float | None = Field(None, gt=0, description="wall time, in seconds")

    def to_new(self) -> NewCommand:
        """Returns what the service takes."""
        return NewCommand(
            command=self.command if isinstance(self.command, str) else tuple(self.command),
            cwd=self.cwd,
            env=self.env,
            stdin=None if self.stdin is None else self.stdin.encode(),
            timeout_s=self.timeout_s,
        )


class CommandOut(BaseModel):
    """How a command ended; `exit_code` or `signal` is set. Bytes that are no UTF-8 show as U+FFFD."""

    id: str
    exit_code: int | None
    signal: str | None
    stdout: str
    stderr: str
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    timed_out: bool
    oom_killed: bool
    limits: list[str]
    duration_ms: float

    @classmethod
    def of(cls, result: CommandResult) -> Self:
        """Renders a result."""
        return cls(
            id=result.id,
            exit_code=result.exit_code,
            signal=result.signal,
            stdout=result.stdout.decode(errors="replace"),
            stderr=result.stderr.decode(errors="replace"),
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
            truncated=result.truncated,
            timed_out=result.timed_out,
            oom_killed=result.oom_killed,
            limits=[limit.value for limit in result.limits],
            duration_ms=result.duration_ms,
        )
