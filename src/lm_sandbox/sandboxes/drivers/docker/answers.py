"""What the engine answers, as far as it is used. Source: the Docker Engine API, version 1.41."""

import posixpath

from pydantic import AliasPath, BaseModel, ConfigDict, Field

COOKIE_PLACE = 2


class Answer(BaseModel):
    """A part of the engine's JSON; what is not named here is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Runtime(Answer):
    """What makes containers; newer engines name a shim instead of a path."""

    path: str = ""
    shim: str = Field("", alias="runtimeType")


class EngineInfo(Answer):
    """`GET /info`."""

    version: str = Field("", alias="ServerVersion")
    cgroup_version: str = Field("", alias="CgroupVersion")
    memory_limit: bool = Field(False, alias="MemoryLimit")
    pids_limit: bool = Field(False, alias="PidsLimit")
    cpu_quota: bool = Field(False, alias="CpuCfsQuota")
    cpuset: bool = Field(False, alias="CPUSet")
    cores: int = Field(0, alias="NCPU")
    security: tuple[str, ...] = Field((), alias="SecurityOptions")
    runtimes: dict[str, Runtime] = Field({}, alias="Runtimes")
    default_runtime: str = Field("runc", alias="DefaultRuntime")
    podman: bool = False

    def has(self, option: str) -> bool:
        """Whether a security option is on, such as `seccomp` or `rootless`."""
        return any(f"name={option}" in entry.split(",") for entry in self.security)


class Created(Answer):
    """`POST /containers/create`."""

    id: str = Field(alias="Id")


class ImageConfig(Answer):
    """What an image declares; a volume would be a folder of the engine's host without any limit."""

    volumes: dict[str, object] | None = Field(None, alias="Volumes")


class Image(Answer):
    """`GET /images/{name}/json`."""

    id: str = Field(alias="Id")
    config: ImageConfig = Field(ImageConfig(), alias="Config")

    @property
    def volumes(self) -> list[str]:
        """The paths of its volumes, without detours."""
        return sorted(posixpath.normpath(path) for path in self.config.volumes or ())


class State(Answer):
    """Whether a container runs, and its first process on the engine's host."""

    running: bool = Field(alias="Running")
    paused: bool = Field(False, alias="Paused")
    pid: int = Field(alias="Pid")


class Listed(Answer):
    """One of `GET /containers/json`."""

    id: str = Field(alias="Id")
    state: str = Field("", alias="State")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state in {"running", "paused"}


class Ulimit(Answer):
    """What one process may use."""

    name: str = Field(alias="Name")
    hard: int = Field(alias="Hard")


class Resources(Answer):
    """What the engine has kept; it sets limits to nothing that its kernel cannot hold."""

    memory: int = Field(0, alias="Memory")
    cpus: int = Field(0, alias="NanoCpus")
    pids: int | None = Field(None, alias="PidsLimit")
    cpuset: str = Field("", alias="CpusetCpus")
    privileged: bool = Field(False, alias="Privileged")
    read_only: bool = Field(False, alias="ReadonlyRootfs")
    network: str = Field("", alias="NetworkMode")
    binds: tuple[str, ...] | None = Field(None, alias="Binds")
    pid_mode: str = Field("", alias="PidMode")
    added: tuple[str, ...] | None = Field(None, alias="CapAdd")
    tmpfs: dict[str, str] | None = Field(None, alias="Tmpfs")
    ulimits: tuple[Ulimit, ...] | None = Field(None, alias="Ulimits")

    @property
    def confined(self) -> bool:
        """Whether it has no more of the host than a sandbox is given."""
        parted = self.read_only and self.network == "none" and self.pid_mode != "host"
        return parted and not (self.privileged or self.binds or self.added)


class Config(Answer):
    """How commands start."""

    env: tuple[str, ...] | None = Field(None, alias="Env")
    labels: dict[str, str] | None = Field(None, alias="Labels")


class Container(Answer):
    """`GET /containers/{id}/json`."""

    id: str = Field(alias="Id")
    state: State = Field(alias="State")
    resources: Resources = Field(alias="HostConfig")
    config: Config = Field(alias="Config")
    programs: tuple[str, ...] | None = Field(None, alias="ExecIDs")


class Used(Answer):
    """`GET /containers/{id}/stats`; a container that has ended uses nothing."""

    cpu_ns: int = Field(0, validation_alias=AliasPath("cpu_stats", "cpu_usage", "total_usage"))
    throttled_ns: int = Field(0, validation_alias=AliasPath("cpu_stats", "throttling_data", "throttled_time"))
    memory_bytes: int | None = Field(None, validation_alias=AliasPath("memory_stats", "usage"))
    memory_stat: dict[str, int] = Field({}, validation_alias=AliasPath("memory_stats", "stats"))
    memory_peak_bytes: int | None = Field(None, validation_alias=AliasPath("memory_stats", "max_usage"))
    pids: int | None = Field(None, validation_alias=AliasPath("pids_stats", "current"))

    @property
    def cached_bytes(self) -> int:
        """Memory that is only a copy of files on disk, as either version of control groups calls it."""
        names = ("total_active_file", "total_inactive_file")
        found = [self.memory_stat.get(name, self.memory_stat.get(name[6:], 0)) for name in names]
        return sum(found)


class Exec(Answer):
    """`GET /exec/{id}/json`."""

    running: bool = Field(alias="Running")
    code: int | None = Field(None, alias="ExitCode")
    pid: int = Field(0, alias="Pid")
    arguments: tuple[str, ...] | None = Field(None, validation_alias=AliasPath("ProcessConfig", "arguments"))

    @property
    def cookie(self) -> str | None:
        """The cookie of a command of ours: it follows `-c` and the text for the shell."""
        return self.arguments[COOKIE_PLACE] if self.arguments and len(self.arguments) > COOKIE_PLACE else None

    @property
    def has_begun(self) -> bool:
        """Whether it runs by itself, or has ended."""
        return bool(self.pid) or self.code is not None
