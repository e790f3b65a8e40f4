"""Whether the server itself runs in a container, and what that has to be started with for bwrap to work."""

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

# Without these, root can neither give each sandbox a host user of its own nor enter it: capabilities(7).
NEEDED = {"CHOWN": 0, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_PTRACE": 19, "SYS_ADMIN": 21}
# A host's own, which covers nothing.
NO_MASK = "/proc/sys/fs/binfmt_misc"


class Kind(StrEnum):
    """What runs the container."""

    DOCKER = "docker"
    PODMAN = "podman"
    KUBERNETES = "kubernetes"


class Hold(StrEnum):
    """What keeps bwrap from working."""

    FILTER = "filter"
    MASKS = "masks"
    PROFILE = "profile"


_DOCKER = {
    Hold.FILTER: "--security-opt seccomp=unconfined",
    Hold.MASKS: "--security-opt systempaths=unconfined",
    Hold.PROFILE: "--security-opt apparmor=unconfined",
}
FLAGS = {
    Kind.DOCKER: _DOCKER,
    Kind.PODMAN: {**_DOCKER, Hold.MASKS: "--security-opt unmask=ALL"},
    Kind.KUBERNETES: {
        Hold.FILTER: "seccompProfile: {type: Unconfined}",
        Hold.MASKS: "procMount: Unmasked",
        Hold.PROFILE: "appArmorProfile: {type: Unconfined}",
    },
}
CGROUPS_FIX = (
    "In a container they are read-only: start it as root and with --cgroupns=host "
    "-v /sys/fs/cgroup:/sys/fs/cgroup. "
    "To go on with weaker limits instead, set LM_SANDBOX_SANDBOX__REQUIRE_CGROUPS=false"
)
RIGHTS_FIX = (
    "Give the server what it lacks, in a container with --cap-add SYS_ADMIN --cap-add SYS_PTRACE, or run it "
    "as an ordinary user, in a container with --user 1000"
)
HOST_REFUSES = "The container has all that it needs, so its host refuses: run `lm-sandbox doctor` there"


@dataclass(frozen=True, slots=True)
class Container:
    """What holds this process.

    Attributes:
        kind: What runs it.
        holds: What keeps bwrap from working.
    """

    kind: Kind
    holds: tuple[Hold, ...]

    @property
    def fix(self) -> str:
        """Says what it has to be started with, and no more than is missing."""
        flags = [FLAGS[self.kind][hold] for hold in self.holds]
        if not flags:
            return HOST_REFUSES
        if self.kind is Kind.KUBERNETES:
            return f"Put into the container's securityContext: {', '.join(flags)}"
        return f"Start the container with {' '.join(flags)}"


def read_container(root: Path = Path("/")) -> Container | None:
    """Looks around; None where this is no container that is known.

    Args:
        root: Where this system's files are.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        kind = Kind.KUBERNETES
    elif (root / "run/.containerenv").exists():
        kind = Kind.PODMAN
    elif (root / ".dockerenv").exists():
        kind = Kind.DOCKER
    else:
        return None
    proc = root / "proc/self"
    return Container(
        kind, holds(_text(proc / "status"), _text(proc / "mountinfo"), _text(proc / "attr/current"))
    )


def holds(status: str, mountinfo: str, profile: str) -> tuple[Hold, ...]:
    """Tells what holds a process, from what the kernel says of it.

    Args:
        status: `/proc/self/status`.
        mountinfo: `/proc/self/mountinfo`.
        profile: `/proc/self/attr/current`; empty where there is no AppArmor.
    """
    places = [fields[4] for line in mountinfo.splitlines() if len(fields := line.split()) > 4]  # noqa: PLR2004 - proc(5)
    found = {
        Hold.FILTER: re.search(r"^Seccomp:\s*2$", status, re.MULTILINE) is not None,
        Hold.MASKS: any(place.startswith("/proc/") and place != NO_MASK for place in places),
        Hold.PROFILE: profile.strip("\0\n ") not in {"", "unconfined"},
    }
    return tuple(hold for hold, there in found.items() if there)


def lacking_rights(status: str) -> list[str]:
    """Names the capabilities that root lacks, from its `/proc/self/status`."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    effective = int(found[1], 16) if found else 0
    return [name for name, bit in NEEDED.items() if not effective >> bit & 1]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
