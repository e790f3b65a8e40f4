"""The system call filter of every process in a sandbox, as a BPF program."""

import errno
import os
import struct
import sys
import termios

import pyseccomp as libseccomp

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
NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000,
                  0x40000000, 0x00000080)  # fmt: skip
TIOCLINUX = 0x541C
# AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK stay.
REFUSED_FAMILIES = (0, *range(3, 10), *range(11, 16))
AF_NETLINK = 16
LOW_32_BITS = 0xFFFFFFFF


def build_filter() -> bytes:
    """Returns the program, as `struct sock_filter` after `struct sock_filter`.

    Raises:
        OSError: libseccomp cannot make it.
    """
    program = libseccomp.SyscallFilter(libseccomp.ALLOW)
    denied, absent = libseccomp.ERRNO(errno.EPERM), libseccomp.ERRNO(errno.ENOSYS)
    for name in DENIED:
        _add(program, denied, name)
    for name in ABSENT:
        _add(program, absent, name)
    for flag in NEW_NAMESPACES:
        program.add_rule(denied, "clone", libseccomp.Arg(0, libseccomp.MASKED_EQ, flag, flag))
    for request in (termios.TIOCSTI, termios.TIOCSETD, TIOCLINUX):
        # The kernel looks at 32 bits of the request, so the rule does too.
        low = libseccomp.Arg(1, libseccomp.MASKED_EQ, LOW_32_BITS, request)
        program.add_rule(denied, "ioctl", low)
    _refuse_sockets(program)
    return _export(program)


def _refuse_sockets(program: libseccomp.SyscallFilter) -> None:
    refused = libseccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in REFUSED_FAMILIES:
        program.add_rule(refused, "socket", libseccomp.Arg(0, libseccomp.EQ, family))
    program.add_rule(refused, "socket", libseccomp.Arg(0, libseccomp.GT, AF_NETLINK))
    # Of netlink only the routing family, which name look-ups and `ip` want.
    program.add_rule(
        refused,
        "socket",
        libseccomp.Arg(0, libseccomp.EQ, AF_NETLINK),
        libseccomp.Arg(2, libseccomp.GT, 0),
    )


def _add(program: libseccomp.SyscallFilter, action: int, name: str) -> None:
    try:
        program.add_rule(action, name)
    except (ValueError, RuntimeError, OSError):
        # This architecture or this libseccomp does not know the call, so nobody can make it by name.
        if name in {"mount", "setns", "unshare", "keyctl", "bpf"}:
            raise


def _export(program: libseccomp.SyscallFilter) -> bytes:
    descriptor = os.memfd_create("seccomp")
    with os.fdopen(descriptor, "w+b") as file:
        program.export_bpf(file)
        file.seek(0)
        data = file.read()
    size = struct.calcsize("HBBI")
    if not data or len(data) % size or sys.byteorder != "little":
        raise OSError("libseccomp made no usable filter")
    return data
