"""What a container is made from: the engine's configuration of a sandbox, as data."""

from collections.abc import Iterable, Mapping
from typing import Any

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Image
from lm_sandbox.sandboxes.drivers.docker.profile import seccomp_profile
from lm_sandbox.sandboxes.drivers.docker.succession import labels
from lm_sandbox.sandboxes.inside.layout import (
    BYTES_PER_FILE,
    ENVIRONMENT,
    FEWEST_FILES,
    HOME,
    MASKED_PROC,
    SANDBOX_UID,
    WORKSPACE,
)
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice

DEFAULT_IMAGE = "debian:bookworm-slim"
HOSTNAME = "sandbox"
# The first process only collects orphans while it reads what never comes, and starts nothing. As process 1
# it is deaf to every signal from inside.
KEEP = "exec {silence}<> <(:) </dev/null >/dev/null 2>&1; while :; do read -r -u $silence _; done"
INIT = ("/bin/bash", "-c", KEEP)
INIT_UID = 65534
OWNED = f"uid={SANDBOX_UID},gid={SANDBOX_UID},mode=0755"
SHARED = "mode=1777"
# Writable places; each is a tmpfs of its own.
WRITABLE = {
    WORKSPACE: OWNED,
    HOME: OWNED,
    "/tmp": SHARED,  # noqa: S108 - the sandbox's own
    "/var/tmp": SHARED,  # noqa: S108
    "/dev/shm": SHARED,  # noqa: S108
}
# What a snapshot holds, by the names of the embedded driver's: one can start from the other's.
SAVED = {"workspace": WORKSPACE, "home": HOME, "tmp": "/tmp", "vartmp": "/var/tmp"}  # noqa: S108
# A list of ours replaces the engine's own, so this holds that one too. /sys tells of the host's
# hardware and, below fs/cgroup, of its groups.
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/scsi", "/proc/timer_stats", "/sys",
          *(f"/proc/{name}" for name in MASKED_PROC))  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")
LOCKED_BYTES = 64 * 1024


def container_config(
    sandbox: SandboxId, spec: SandboxSpec, settings: DockerSettings, *, image: Image, run: str
) -> dict[str, Any]:
    """Returns the body of `POST /containers/create`.

    Args:
        sandbox: Goes into a label.
        spec: What it is made from.
        settings: What this server gives to all of them.
        image: What it starts from.
        run: Names this run of the server, so that a later one finds what was left behind.
    """
    # The image's PATH stays: its programs may be anywhere.
    env = {name: value for name, value in ENVIRONMENT.items() if name != "PATH"} | dict(spec.env)
    return {
        # By its id: what a name stands for can change, and with it what is declared.
        "Image": image.id,
        # Of the first process: commands are another user, and so can neither look into it nor trace it.
        "User": f"{INIT_UID}:{INIT_UID}",
        "Hostname": HOSTNAME,
        "Entrypoint": list(INIT),
        "Cmd": [],
        # It is deaf to all others.
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["NONE"]},
        "Env": [f"{name}={value}" for name, value in env.items()],
        "WorkingDir": WORKSPACE,
        "Labels": labels(run, sandbox),
        "HostConfig": {
            **_isolation(settings),
            **resources(spec.limits),
            "Ulimits": _ulimits(spec.limits),
            "DeviceRequests": _gpus(spec.gpus),
            "Tmpfs": _tmpfs(spec.limits.disk_bytes, image.volumes),
        },
    }


def _isolation(settings: DockerSettings) -> dict[str, Any]:
    return {
        "Runtime": settings.runtime or "",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={seccomp_profile()}"],
        "MaskedPaths": list(MASKED),
        "ReadonlyPaths": list(READ_ONLY),
        "NetworkMode": "none",
        # The engine lets everybody take the lower ports, which are the server's, and send ICMP.
        "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv4.ping_group_range": "1 0"},
        # Otherwise the host's name servers and search domains are written into the container.
        "Dns": ["127.0.0.1"],
        "DnsOptions": ["timeout:5", "attempts:1"],
        "DnsSearch": ["."],
        "ExtraHosts": [f"{HOSTNAME}:127.0.0.1"],
        "CgroupnsMode": "private",
        # A namespace of its own, without the engine's /dev/shm.
        "IpcMode": "none",
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
    }


def resources(limits: Limits) -> dict[str, Any]:
    """Returns what can be changed while a container lives: the body of `POST /containers/{id}/update`."""
    # The writable tmpfs is charged to memory, so its size is added.
    memory = limits.memory_bytes + limits.disk_bytes
    return {
        "NanoCpus": round(limits.cpus * 1e9),
        "Memory": memory,
        # The sum of memory and swap: no swap.
        "MemorySwap": memory,
        "PidsLimit": limits.pids,
        "CpusetCpus": limits.cpuset,
    }


def _ulimits(limits: Limits) -> list[dict[str, Any]]:
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in rlimits(limits).items()]


def rlimits(limits: Limits) -> Mapping[str, int]:
    """Returns what one process may use, by the engine's names."""
    return {"nofile": limits.open_files, "core": 0, "memlock": LOCKED_BYTES, "msgqueue": 0}


def _gpus(gpus: Iterable[GpuDevice]) -> list[dict[str, Any]]:
    """Asks the NVIDIA Container Toolkit for them, with what is for computing and nothing for screens."""
    ids = [gpu.id for gpu in gpus]
    return (
        [{"Driver": "nvidia", "DeviceIDs": ids, "Capabilities": [["gpu", "compute", "utility"]]}]
        if ids
        else []
    )


def _tmpfs(disk_bytes: int, volumes: Iterable[str]) -> dict[str, str]:
    files = max(FEWEST_FILES, disk_bytes // BYTES_PER_FILE)
    common = f"exec,nosuid,nodev,size={disk_bytes},nr_inodes={files}"
    places = dict.fromkeys(volumes, SHARED) | WRITABLE
    return {place: f"{common},{owner}" for place, owner in places.items()}
