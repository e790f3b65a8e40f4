"""What the control groups of this host can hold of the limits that are asked for."""

from lm_sandbox.config.cores import parse_cores
from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.limits import ASKED_AS, Limits

NO_CORES = (
    "This host cannot hold sandboxes on chosen cores: the cpuset controller is not handed to the server. "
    "Leave cpuset out"
)


def require_cores(limits: Limits, cores: str) -> None:
    """Refuses cores that cannot be held, as they would not be.

    Args:
        limits: What is asked for.
        cores: What can be chosen among; an empty text where nothing can.

    Raises:
        Unsupported: none can be chosen.
        Invalid: the host has no such cores.
    """
    if not limits.cpuset:
        return
    if not cores:
        raise Unsupported(f"{NO_CORES}.")
    if not parse_cores(limits.cpuset) <= parse_cores(cores):
        raise Invalid(f"cpuset may be within {cores} on this host.", field="limits.cpuset")


def require_held(limits: Limits, names: frozenset[str], group: Group | None) -> None:
    """Refuses changes of limits that nothing would hold.

    Raises:
        Unsupported: it names one.
        Invalid: the host has no such cores.
    """
    if group is None:
        raise Unsupported(
            f"{_asked_as(names)} cannot be changed while a sandbox lives: this host has no control groups."
        )
    if "cpus" in names and not group.holds_cpu:
        raise Unsupported("cpus cannot be changed: the cpu controller is not handed to the server.")
    require_cores(limits, group.cores)


def _asked_as(names: frozenset[str]) -> str:
    return ", ".join(sorted(ASKED_AS.get(name, (name, 1))[0] for name in names))
