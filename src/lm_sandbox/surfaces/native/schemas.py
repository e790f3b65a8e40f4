"""The shapes of the native surface."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lm_sandbox.sandboxes.driver import Stats
from lm_sandbox.sandboxes.egress import MOST_RULES, EgressMode, EgressPolicy
from lm_sandbox.sandboxes.limits import MIB, LimitChange, Limits
from lm_sandbox.sandboxes.mounts import MOST_MOUNTS, AskedMount
from lm_sandbox.sandboxes.sandbox import Change, Lifetime, NewSandbox, Sandbox, SandboxState
from lm_sandbox.sandboxes.secrets import MOST_SECRETS, DomainSecret

Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Id = Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")]
Folder = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\w][\w .:@-]*$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, Field(max_length=32_768, pattern=r"^[^\x00]*$")]
Env = Annotated[dict[EnvName, EnvValue], Field(max_length=256)]
ABOUT_USER = "`root` is root of the sandbox only, which must have an image"
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]
GpuName = Annotated[str, Field(pattern=r"^([0-9]{1,3}|GPU-[0-9a-zA-Z-]{1,60})$")]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class Body(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class LimitsBody(Body):
    """Limits below the server's own."""

    cpus: float | None = Field(None, ge=0.01, allow_inf_nan=False, description="CPU time, in cores")
    cpuset: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="the cores it may run on", examples=["0-1,3"]
    )
    memory_mib: int | None = Field(None, ge=16, description="memory in MiB")
    pids: int | None = Field(None, ge=4, description="processes and threads")
    disk_mib: int | None = Field(None, ge=1, description="writable bytes in MiB")
    open_files: int | None = Field(None, ge=16, description="descriptors per process")

    def to_change(self) -> LimitChange:
        """Returns what the service takes."""
        return LimitChange(
            cpus=self.cpus,
            memory_bytes=self.memory_mib and self.memory_mib * MIB,
            pids=self.pids,
            disk_bytes=self.disk_mib and self.disk_mib * MIB,
            open_files=self.open_files,
            cpuset=self.cpuset,
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


class SecretBody(Body):
    """A secret that programs in the sandbox use without having it."""

    domain: Annotated[str, Field(max_length=512, description="whose requests over TLS get it")]
    name: EnvName = Field(description="the variable that holds what stands for it inside")
    value: SecretStr = Field(max_length=8192)

    def to_secret(self) -> DomainSecret:
        """Returns what the service takes."""
        return DomainSecret.parse(self.domain, self.name, self.value.get_secret_value())


class SecretOut(BaseModel):
    """A secret, without its value."""

    domain: str
    name: str

    @classmethod
    def of(cls, secret: DomainSecret) -> Self:
        """Renders a secret."""
        return cls(domain=str(secret.domain), name=secret.name)


class MountBody(Body):
    """A volume in a sandbox."""

    volume: Annotated[Text, Field(max_length=128, description="its id or its name")]
    path: Annotated[Text, Field(max_length=512, description="where, such as /data")]
    read_only: bool = False

    def to_mount(self) -> AskedMount:
        """Returns what the service takes."""
        return AskedMount(self.volume, self.path, self.read_only)


class MountOut(BaseModel):
    """A volume that is in a sandbox."""

    id: str
    volume: str = Field(description="its name when the sandbox was made")
    path: str
    read_only: bool


class SandboxCreate(Body):
    """Everything has a default: `{}` makes a sandbox."""

    name: Name | None = None
    env: Env = Field(default_factory=dict, description="variables of every command")
    metadata: Metadata = Field(default_factory=dict, description="kept and given back")
    limits: LimitsBody | None = None
    snapshot: Id | None = Field(None, description="the snapshot whose files it starts with")
    image: Annotated[Text, Field(max_length=512)] | None = Field(
        None, description="its root file system, by name; a snapshot brings its own"
    )
    idle_timeout_s: Seconds | None = Field(None, description="deleted after so long without use")
    max_age_s: Seconds | None = Field(None, description="deleted so long after it was made")
    egress: EgressBody = Field(default_factory=EgressBody, description="nothing by default")
    secrets: list[SecretBody] = Field(
        default_factory=list,
        max_length=MOST_SECRETS,
        description="for domains that egress allows; a command finds a placeholder in the variable",
    )

    gpus: Annotated[int, Field(ge=0, le=64)] | Annotated[list[GpuName], Field(max_length=64)] = Field(
        0,
        description="how many GPUs, or which, by UUID or number; the server lends none unless it is told to",
    )

    mounts: list[MountBody] = Field(
        default_factory=list, max_length=MOST_MOUNTS, description="volumes, which outlive the sandbox"
    )

    def to_new(self, default: Limits) -> NewSandbox:
        """Returns what the service takes."""
        return NewSandbox(
            name=self.name,
            env=self.env,
            metadata=self.metadata,
            limits=self.limits.to_change().over(default) if self.limits else None,
            snapshot=self.snapshot,
            image=self.image,
            lifetime=Lifetime(self.idle_timeout_s, self.max_age_s),
            egress=self.egress.to_policy(),
            secrets=tuple(secret.to_secret() for secret in self.secrets),
            gpus=self.gpus if isinstance(self.gpus, int) else tuple(self.gpus),
            mounts=tuple(mount.to_mount() for mount in self.mounts),
        )


class SandboxPatch(Body):
    """What is to be changed; what is left out stays."""

    name: Name | None = None
    metadata: Metadata | None = Field(None, description="takes the place of all the old")
    idle_timeout_s: Seconds | None = None
    max_age_s: Seconds | None = None
    egress: EgressBody | None = Field(None, description="takes the place of all the old")
    limits: LimitsBody | None = Field(
        None, description="each that is given takes the place of the old; disk and open files stay"
    )

    def to_change(self) -> Change:
        """Returns what the service takes."""
        egress = self.egress.to_policy() if self.egress else None
        return Change(
            self.name,
            self.metadata,
            Lifetime(self.idle_timeout_s, self.max_age_s),
            egress,
            self.limits.to_change() if self.limits else None,
        )


class EnforcedOut(BaseModel):
    """What holds the sandbox, as set up and not as asked for."""

    driver: str
    user: str
    host_uid: int
    network: str
    seccomp: bool
    limits: dict[str, str]
    isolation: str
    entry: str
    gpus: list[str] = Field(description="the UUIDs of the GPUs that are in it")


class SandboxOut(BaseModel):
    """A sandbox."""

    id: str
    name: str
    state: SandboxState
    metadata: dict[str, str]
    image: str | None = Field(description="as it was asked for; null for the server's default")
    created_at: datetime
    last_active_at: datetime
    idle_timeout_s: float | None
    max_age_s: float | None
    egress: EgressBody
    secrets: list[SecretOut]
    mounts: list[MountOut]
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
            image=sandbox.image,
            created_at=sandbox.created_at,
            last_active_at=sandbox.last_active_at,
            idle_timeout_s=sandbox.lifetime.idle_timeout_s,
            max_age_s=sandbox.lifetime.max_age_s,
            egress=EgressBody.of(sandbox.egress),
            secrets=[SecretOut.of(secret) for secret in sandbox.secrets],
            mounts=[
                MountOut(id=one.id, volume=one.volume, path=one.path, read_only=one.read_only)
                for one in sandbox.mounts
            ],
            enforced=enforced
            and EnforcedOut(
                driver=enforced.driver,
                user=enforced.user,
                host_uid=enforced.host_uid,
                network=enforced.network,
                seccomp=enforced.seccomp,
                limits=dict(enforced.limits),
                isolation=enforced.isolation,
                entry=enforced.entry,
                gpus=list(enforced.gpus),
            ),
        )


class SandboxList(BaseModel):
    """A page of sandboxes; `next_after` goes into `after` for the next one."""

    data: list[SandboxOut]
    next_after: str | None


class StatsOut(BaseModel):
    """What a sandbox uses now; null where this host does not tell."""

    cpu_seconds: float | None = Field(description="CPU time since it was made")
    throttled_seconds: float | None = Field(description="how long its CPU limit held it back")
    memory_bytes: int | None
    memory_peak_bytes: int | None
    pids: int | None = Field(description="processes and threads")
    disk_bytes: int | None = Field(description="bytes in its writable files")

    @classmethod
    def of(cls, stats: Stats) -> Self:
        """Renders what the driver tells."""
        return cls(
            cpu_seconds=stats.cpu_seconds,
            throttled_seconds=stats.throttled_seconds,
            memory_bytes=stats.memory_bytes,
            memory_peak_bytes=stats.memory_peak_bytes,
            pids=stats.pids,
            disk_bytes=stats.disk_bytes,
        )
