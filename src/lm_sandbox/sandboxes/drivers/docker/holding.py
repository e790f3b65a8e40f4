"""What an engine can hold of the limits that are asked for."""

from lm_sandbox.config.cores import parse_cores, write_cores
from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo
from lm_sandbox.sandboxes.limits import Limits

NO_CORES = "The Docker engine cannot hold a sandbox on chosen cores; leave cpuset out."


def require_cores(limits: Limits, info: EngineInfo) -> None:
    """Refuses cores that the engine cannot hold, or does not have.

    Raises:
        Unsupported: it holds none.
        Invalid: there are no such cores.
    """
    if not limits.cpuset:
        return
    if not info.cpuset:
        raise Unsupported(NO_CORES)
    there = frozenset(range(info.cores))
    if not parse_cores(limits.cpuset) <= there:
        raise Invalid(f"cpuset may be within {write_cores(there)} on this host.", field="limits.cpuset")
