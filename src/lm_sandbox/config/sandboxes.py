"""Settings of sandboxes and of what makes them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lm_sandbox.config.cores import plain_cores
from lm_sandbox.config.section import Positive, PositiveSeconds, Section

Cores = Annotated[str, AfterValidator(plain_cores)]
GpuName = Annotated[str, Field(pattern=r"^(all|[0-9]{1,3}|GPU-[0-9a-zA-Z-]{1,60})$")]
ImageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class SandboxSettings(Section):
    """Defaults and bounds of sandboxes and commands."""

    driver: Literal["bubblewrap", "docker"] = Field("bubblewrap", description="what makes sandboxes")
    image: str | None = Field(
        None,
        description="what sandboxes start from that name no image; default: the host's own system, read-only "
        "(bubblewrap) or debian:bookworm-slim (docker)",
    )
    images: dict[ImageName, Path] = Field(
        {}, description="a folder with a root file system, for the image of this name"
    )
    images_mib: Positive = Field(20 * 1024, description="disk for all imported images, in MiB")
    cpus: Annotated[float, Field(gt=0)] = Field(2.0, description="CPU cores of one sandbox")
    cpuset: Cores = Field("", description="cores that sandboxes may run on, such as 0-3,8; default: all")
    memory_mib: Positive = Field(1024, description="memory of one sandbox, in MiB")
    pids: Positive = Field(256, description="processes and threads of one sandbox")
    gpus: tuple[GpuName, ...] = Field(
        (), description="GPUs that sandboxes may ask for, by UUID or number, or `all`; default: none"
    )
    gpu_wait_s: PositiveSeconds = Field(
        60.0,
        description="how long requests of the models on a GPU may take to end when a sandbox asks for it",
    )
    disk_mib: Positive = Field(512, description="bytes a sandbox can write, in MiB")
    require_cgroups: bool = Field(
        True, description="refuse to start where only rlimits could hold memory and processes"
    )
    open_files: Positive = Field(4096, description="descriptors one process may hold")
    warm: int = Field(
        2, ge=0, le=64, description="sandboxes that a server keeps ready, so that making one takes no time"
    )
    max_sandboxes: Positive = Field(256, description="sandboxes alive at once")
    idle_timeout_s: PositiveSeconds = Field(1800.0, description="a sandbox unused for so long is deleted")
    max_idle_timeout_s: PositiveSeconds = Field(
        7 * 86400.0, description="the longest idle time a sandbox may ask for"
    )
    max_age_s: PositiveSeconds | None = Field(
        None, description="a sandbox is deleted so long after it was made; default: never"
    )
    recovery_s: float = Field(
        600.0,
        ge=0,
        description="how long the sandboxes of a killed server wait for another one; 0 ends them with it",
    )
    shells: Positive = Field(32, description="shells that stay in one sandbox")
    command_timeout_s: PositiveSeconds = Field(120.0, description="wall time of a command that names none")
    max_command_timeout_s: PositiveSeconds = Field(
        86400.0, description="the longest wall time a command may ask for"
    )
    max_command_bytes: Positive = Field(
        128 * 1024, description="the longest command text; the kernel takes no longer argument"
    )
    max_output_bytes: Positive = Field(
        1024 * 1024, description="bytes kept of each output stream, half head and half tail"
    )
    output_limit_bytes: Positive = Field(256 * 1024 * 1024, description="a command that writes more is ended")
    spool_mib: Positive = Field(
        512, description="disk for the long outputs of one sandbox's commands, in MiB; the oldest go first"
    )
    max_terminals: Positive = Field(8, description="terminals of one sandbox")
    max_terminal_viewers: Positive = Field(16, description="connections to one terminal at once")
    scroll_back_kib: Positive = Field(
        256, description="output that a terminal keeps for who comes to look, in KiB"
    )
    snapshots_mib: Positive = Field(10 * 1024, description="disk for all snapshots, in MiB")
    volume_mib: Positive = Field(1024, description="what one volume holds, in MiB; fewer on request")
    volumes_mib: Positive = Field(10 * 1024, description="disk for all volumes, in MiB")


class DockerSettings(Section):
    """The Docker driver."""

    socket: Path = Field(Path("/var/run/docker.sock"), description="where the Docker engine listens")
    runtime: str | None = Field(
        None, description="what makes containers, such as runc, runsc or kata; default: the engine's"
    )
