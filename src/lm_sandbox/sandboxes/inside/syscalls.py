"""The system call policy of every process in a sandbox, as data."""

import errno
import termios
from dataclasses import dataclass
from enum import StrEnum

# What a process without privileges has no use for, and what kernel holes are found in.
DENIED = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime", "create_module",
    "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick",
    "get_kernel_syms", "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl",
    "lookup_dcookie", "modify_ldt", "mount", "mount_setattr", "move_mount", "name_to_handle_at",
    "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "query_module",
    "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname", "setns",
    "settimeofday", "stime", "swapoff", "swapon", "sysfs", "syslog", "umount", "umount2", "unshare",
    "uselib", "userfaultfd", "ustat", "vhangup", "_sysctl",
)  # fmt: skip
# Programs try these first and fall back to what can be filtered.
ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# No filter without these is worth the name, whatever else a libseccomp does not know.
ESSENTIAL = frozenset({"mount", "setns", "unshare", "keyctl", "bpf", "clone", "socket", "ioctl"})
NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000,
                  0x40000000, 0x00000080)  # fmt: skip
TIOCLINUX = 0x541C
# AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK stay.
REFUSED_FAMILIES = (0, *range(3, 10), *range(11, 16))
AF_NETLINK = 16
LOW_32_BITS = 0xFFFFFFFF


class Comparison(StrEnum):
    """How an argument is compared, by libseccomp's names."""

    EQUAL = "SCMP_CMP_EQ"
    GREATER = "SCMP_CMP_GT"
    MASKED_EQUAL = "SCMP_CMP_MASKED_EQ"


@dataclass(frozen=True, slots=True)
class Condition:
    """What an argument must be; `mask` is for `MASKED_EQUAL` only."""

    argument: int
    comparison: Comparison
    value: int
    mask: int = LOW_32_BITS


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that fails with an error, always or when all of the conditions hold."""

    call: str
    error: int
    conditions: tuple[Condition, ...] = ()


def refusals() -> list[Refusal]:
    """Lists everything that is refused; the rest is allowed."""
    return [
        *(Refusal(name, errno.EPERM) for name in DENIED),
        *(Refusal(name, errno.ENOSYS) for name in ABSENT),
        *(
            Refusal("clone", errno.EPERM, (Condition(0, Comparison.MASKED_EQUAL, flag, mask=flag),))
            for flag in NEW_NAMESPACES
        ),
        # The kernel looks at 32 bits of the request, so the rule does too.
        *(
            Refusal("ioctl", errno.EPERM, (Condition(1, Comparison.MASKED_EQUAL, request),))
            for request in (termios.TIOCSTI, termios.TIOCSETD, TIOCLINUX)
        ),
        *_sockets(),
    ]


def _sockets() -> list[Refusal]:
    refused = errno.EAFNOSUPPORT
    # Of netlink only the routing family, which name look-ups and `ip` want.
    other_netlink = (
        Condition(0, Comparison.EQUAL, AF_NETLINK),
        Condition(2, Comparison.GREATER, 0),
    )
    return [
        *(
            Refusal("socket", refused, (Condition(0, Comparison.EQUAL, family),))
            for family in REFUSED_FAMILIES
        ),
        Refusal("socket", refused, (Condition(0, Comparison.GREATER, AF_NETLINK),)),
        Refusal("socket", refused, other_netlink),
    ]
