"""Says what holds a sandbox."""

import os

from lm_sandbox.sandboxes.driver import Enforced, SandboxSpec
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.limits import MIB, Limits


def describe(spec: SandboxSpec, *, uid: int | None, group: Group | None) -> Enforced:
    """Tells what is set up, and by what each limit is held.

    Args:
        spec: What it was made from.
        uid: The sandbox's own host user id, or None for the server's.
        group: Its cgroups, or None where rlimits stand in.
    """
    return Enforced(
        driver="bubblewrap",
        user="sandbox",
        host_uid=os.geteuid() if uid is None else uid,
        network="none",
        seccomp=True,
        limits=describe_limits(spec.limits, own_user=uid is not None, group=group),
        gpus=tuple(gpu.id for gpu in spec.gpus),
    )


def describe_limits(limits: Limits, *, own_user: bool, group: Group | None) -> dict[str, str]:
    """Tells by what each limit is held."""
    groups = f"cgroup v{group.version}" if group else None
    cpus = group is not None and group.holds_cpu
    memory = (limits.memory_bytes + (limits.disk_bytes if groups else 0)) // MIB
    return {
        "cpus": f"{limits.cpus:g} ({groups})" if cpus else "none",
        "cpuset": f"{limits.cpuset} ({groups})" if limits.cpuset else "none",
        "memory": f"{memory} MiB ({groups})" if groups else f"{memory} MiB a process (rlimit)",
        "pids": f"{limits.pids} ({groups or 'rlimit'})",
        "disk": f"{limits.disk_bytes // MIB} MiB "
        + ("(tmpfs)" if own_user else "in each writable folder (tmpfs)"),
        "open_files": f"{limits.open_files} a process (rlimit)",
    }
