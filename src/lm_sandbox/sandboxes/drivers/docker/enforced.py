"""Says what holds a sandbox."""

from dataclasses import dataclass

from lm_sandbox.sandboxes.driver import Enforced, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Resources
from lm_sandbox.sandboxes.drivers.docker.confinement import Confinement
from lm_sandbox.sandboxes.drivers.docker.runtimes import RuntimeKind
from lm_sandbox.sandboxes.limits import MIB, Limits


@dataclass(frozen=True, slots=True)
class Held:
    """What was found out about a started container.

    Attributes:
        kept: The limits that the engine holds.
        confinement: What the kernel says of a process inside.
        runtime: What made it.
        cgroup_version: Of what holds the engine's limits.
        entry: How commands get in.
    """

    kept: Resources
    confinement: Confinement
    runtime: RuntimeKind
    cgroup_version: str
    entry: str

    @property
    def complete(self) -> bool:
        """Whether it may run hostile code."""
        kernel = self.confinement
        confined = kernel.unprivileged if self.runtime.own_kernel else kernel.complete
        return confined and bool(self.kept.memory and self.kept.pids)


def describe(spec: SandboxSpec, held: Held) -> Enforced:
    """Tells what is set up, and by what each limit is held."""
    runtime = held.runtime
    isolation = "a kernel of its own" if runtime.own_kernel else "namespaces"
    return Enforced(
        driver="docker",
        user="sandbox",
        host_uid=held.confinement.uid,
        network="none",
        seccomp=held.confinement.seccomp,
        limits=describe_limits(spec.limits, held.kept, held.cgroup_version),
        isolation=f"{isolation} ({runtime.name})",
        entry=held.entry,
        gpus=tuple(gpu.id for gpu in spec.gpus),
    )


def describe_limits(limits: Limits, kept: Resources, cgroup_version: str) -> dict[str, str]:
    """Tells by what each limit is held, of those of the engine what it has kept."""
    groups = f"cgroup v{cgroup_version}"
    return {
        "cpus": f"{kept.cpus / 1e9:g} ({groups})" if kept.cpus else "none",
        "cpuset": f"{kept.cpuset} ({groups})" if kept.cpuset else "none",
        "memory": f"{kept.memory // MIB} MiB ({groups})",
        "pids": f"{kept.pids} ({groups})",
        "disk": f"{limits.disk_bytes // MIB} MiB in each writable folder (tmpfs)",
        "open_files": f"{limits.open_files} a process (rlimit)",
    }
