"""Says what holds a sandbox."""

import os

from lm_sandbox.sandboxes.driver import Enforced
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.limits import MIB, Limits


def describe(limits: Limits, *, uid: int | None, group: Group | None) -> Enforced:
    """Tells what is set up, and by what each limit is held.

    Args:
        limits: What was set.
        uid: The sandbox's own host user id, or None for the server's.
        group: Its cgroups, or None where rlimits stand in.
    """
    groups = f"cgroup v{group.version}" if group else None
    cpus = group is not None and group.holds_cpu
    memory = (limits.memory_bytes + (limits.disk_bytes if groups else 0)) // MIB
    return Enforced(
        driver="bubblewrap",
        user="sandbox",
        host_uid=os.geteuid() if uid is None else uid,
        network="none",
        seccomp=True,
        limits={
            "cpus": f"{limits.cpus:g} ({groups})" if cpus else "none",
            "memory": f"{memory} MiB ({groups})" if groups else f"{memory} MiB a process (rlimit)",
            "pids": f"{limits.pids} ({groups or 'rlimit'})",
            "disk": f"{limits.disk_bytes // MIB} MiB "
            + ("(tmpfs)" if uid is not None else "in each writable folder (tmpfs)"),
            "open_files": f"{limits.open_files} a process (rlimit)",
        },
    )
