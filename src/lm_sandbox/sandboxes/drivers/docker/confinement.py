"""Reads from a process what confines it: what the kernel has, not what was asked of the engine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confinement:
    """What confines a process.

    Attributes:
        uid: Its user, as the reader sees it.
        capabilities: Whether it has or could get any.
        no_new_privs: Whether it can never gain privileges.
        seccomp: Whether a filter is loaded.
    """

    uid: int
    capabilities: bool
    no_new_privs: bool
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether a process of the host's kernel may run hostile code so."""
        return self.unprivileged and self.no_new_privs and self.seccomp

    @property
    def unprivileged(self) -> bool:
        """Whether it is not root and cannot do what root can."""
        return self.uid != 0 and not self.capabilities


def read_confinement(status: str) -> Confinement:
    """Reads it from the text of `/proc/PID/status`; what is not told there does not hold."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    capabilities = [value for name, value in fields.items() if name.startswith("Cap")]
    return Confinement(
        uid=int(fields.get("Uid", "0").split()[0]),
        capabilities=not capabilities or any(int(value, 16) for value in capabilities),
        no_new_privs=fields.get("NoNewPrivs") == "1",
        seccomp=fields.get("Seccomp") == "2",
    )


def outer_uid(uid_map: str, inner: int) -> int:
    """Translates a user of a namespace by the text of its `/proc/PID/uid_map`."""
    for line in uid_map.splitlines():
        first, outside, count = map(int, line.split())
        if first <= inner < first + count:
            return outside + inner - first
    return inner
