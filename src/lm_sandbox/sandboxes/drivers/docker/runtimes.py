"""What is known of the programs that make containers."""

from dataclasses import dataclass
from pathlib import PurePath

from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo

# Their containers are processes of this kernel, whose namespaces can be entered.
ENTERABLE = frozenset({"runc", "crun"})
# Their containers bring a kernel, which does what the filter would do.
OWN_KERNEL = ("runsc", "kata")


@dataclass(frozen=True, slots=True)
class RuntimeKind:
    """A runtime by name, and what can be relied on.

    Attributes:
        name: As the engine knows it.
        enterable: Whether a process of the host may enter its containers.
        own_kernel: Whether a container does not use the host's kernel.
    """

    name: str
    enterable: bool
    own_kernel: bool


def runtime_kind(info: EngineInfo, wanted: str | None) -> RuntimeKind | None:
    """Looks a runtime up, the engine's default where none is wanted; None where the engine has none such.

    What it is follows from its program, as anything can be called `runc`.
    """
    name = wanted or info.default_runtime
    known = info.runtimes.get(name)
    if known is None:
        return None
    program = PurePath(known.path or known.shim or name).name
    own_kernel = any(part.startswith(OWN_KERNEL) for part in program.split("."))
    return RuntimeKind(name, program in ENTERABLE, own_kernel)
