"""What hostile code tries from inside. Each prints THROUGH only where it has got through."""

from dataclasses import dataclass

THROUGH = "THROUGH"
# The variable of the server's environment that holds a secret.
CANARY = "LM_SANDBOX_CANARY"
# The numbers of system calls below are this machine's.
MACHINE = "x86_64"
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, as a script for bash."""

    group: str
    name: str
    script: str


def _reads(path: str) -> str:
    return f"cat {path} 2>/dev/null | grep -q . && echo {THROUGH}"


def _writes(path: str) -> str:
    return f"(echo x > {path}) 2>/dev/null && echo {THROUGH}"


def _python(code: str) -> str:
    return f"{PYTHON} - <<'EOF'\n{PRELUDE}{code}\nEOF"


PRELUDE = """import ctypes, errno, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    return libc.syscall(number, *arguments)
def through(result):
    if result >= 0: print("THROUGH")
"""
SYSCALLS_X86 = {
    "keyctl": "through(syscall(250, 0, -3, 1))",
    "add_key": "through(syscall(248, b'user', b'k', b'v', 1, -3))",
    "request_key": "through(syscall(249, b'user', b'k', None, -3))",
    "bpf": "through(syscall(321, 0, ctypes.create_string_buffer(128), 72))",
    "perf_event_open": "through(syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))",
    "userfaultfd": "through(syscall(323, 1))",
    "io_uring_setup": "through(syscall(425, 8, ctypes.create_string_buffer(120)))",
    "unshare_user": "through(libc.unshare(0x10000000))",
    "unshare_mount": "through(libc.unshare(0x00020000))",
    "unshare_net": "through(libc.unshare(0x40000000))",
    "clone_user": "through(syscall(56, 0x10000000 | 17, 0, 0, 0, 0) if os.getpid() else -1)",
    "clone3": "through(syscall(435, ctypes.create_string_buffer(88), 88))",
    "setns_init": "fd = os.open('/proc/1/ns/mnt', 0); through(libc.setns(fd, 0))",
    "mount_tmpfs": "through(libc.mount(b't', b'/tmp', b'tmpfs', 0, None))",
    "mount_proc": "through(libc.mount(b'p', b'/tmp', b'proc', 0, None))",
    "umount_usr": "through(libc.umount2(b'/usr', 2))",
    "remount_usr_rw": "through(libc.mount(None, b'/usr', None, 32, None))",
    "move_mount": "through(syscall(429, -100, b'/tmp', -100, b'/home', 0))",
    "open_tree": "through(syscall(428, -100, b'/', 1))",
    "fsopen": "through(syscall(430, b'tmpfs', 0))",
    "pivot_root": "through(syscall(155, b'/tmp', b'/tmp'))",
    "chroot": "through(libc.chroot(b'/tmp'))",
    "open_by_handle_at": "through(syscall(304, -100, ctypes.create_string_buffer(128), 0))",
    "init_module": "through(syscall(175, b'x', 1, b''))",
    "kexec_load": "through(syscall(246, 0, 0, None, 0))",
    "reboot": "through(syscall(169, 0xfee1dead, 672274793, 0, None))",
    "swapon": "through(syscall(167, b'/tmp/x', 0))",
    "settimeofday": "through(syscall(164, struct.pack('qq', 1, 1), None))",
    "sethostname": "through(syscall(170, b'x', 1))",
    "iopl": "through(syscall(172, 3))",
    "quotactl": "through(syscall(179, 0x800002, None, 0, None))",
    "acct": "through(syscall(163, None))",
    "syslog": "through(syscall(103, 3, ctypes.create_string_buffer(99), 99))",
    "fanotify": "through(syscall(300, 0, 0))",
    "x32_getpid": "through(-1 if syscall(0x40000000 + 39) < 0 else 0)",
}
SOCKETS = {
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "alg": "socket.socket(38, socket.SOCK_SEQPACKET)",
    "packet": "socket.socket(17, socket.SOCK_RAW)",
    "netlink_audit": "socket.socket(16, socket.SOCK_RAW, 9)",
    "raw_icmp": "socket.socket(2, socket.SOCK_RAW, 1)",
    "bluetooth": "socket.socket(31, socket.SOCK_RAW)",
    "internet": "socket.create_connection(('1.1.1.1', 443), 1)",
    "metadata_address": "socket.create_connection(('169.254.169.254', 80), 1)",
    "host_loopback": "socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 1)",
    "dns": "socket.getaddrinfo('example.com', 80)",
    "udp": "socket.socket(2, 2).sendto(b'x', ('8.8.8.8', 53))",
    "ipv6": "socket.create_connection(('2606:4700:4700::1111', 443), 1)",
}
# The host's own; but an image may have files of these names that everybody may read.
SYSTEM_FILES = (
    "/root/.bashrc", "/etc/ssh/*", "/etc/machine-id", "/var/lib/dpkg/status", "/home/*/.bashrc", "/boot/*", "/mnt/*",
    "/run/*", "/etc/crontab",
)  # fmt: skip
ATTEMPTS = [
    *(Attempt("files", f"read {path}", _reads(path)) for path in (
        *SYSTEM_FILES, "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/root/.ssh/*", "$SERVER_FILE",
        "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow", "/workspace/../../etc/shadow",
    )),
    *(Attempt("files", f"write {path}", _writes(path)) for path in (
        "/usr/bin/evil", "/etc/passwd", "/etc/evil", "/evil", "/bin/evil", "/lib/evil", "/opt/evil", "/var/log/evil",
        "/dev/evil", "/etc/ld.so.preload", "/usr/lib/evil.so", "/run/evil", "/etc/resolv.conf",
    )),
    *(Attempt("proc and sys", f"write {path}", _writes(path)) for path in (
        "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
        "/proc/1/oom_score_adj", "/proc/sys/net/ipv4/ip_forward", "/proc/self/uid_map", "/proc/self/setgroups",
        "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs",
    )),
    *(Attempt("proc and sys", f"read {path}", _reads(path)) for path in (
        "/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/sys/class/net/*/address",
        "/sys/fs/cgroup/*/tasks", "/proc/slabinfo",
    )),
    Attempt("server", "its environment", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -q CANARY && echo THROUGH"),
    Attempt("server", "its command lines", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -qE 'lm.sandbox[/]|pytes[t]|launche[r]' && echo THROUGH"),
    Attempt("server", "the init's memory", "head -c 1 /proc/1/mem 2>/dev/null && echo THROUGH"),
    Attempt("server", "the init's memory map", "grep -q . /proc/1/maps 2>/dev/null && echo THROUGH"),
    Attempt("server", "the init's environment", "cat /proc/1/environ 2>/dev/null && echo THROUGH"),
    Attempt("server", "the init's program", "readlink /proc/1/exe 2>/dev/null && echo THROUGH"),
    Attempt("server", "the init's descriptors", "ls -l /proc/1/fd 2>/dev/null | grep -qE 'socket|pipe|/home|/root' && echo THROUGH"),
    Attempt("server", "processes of the host", 'test "$(ls /proc | grep -c "^[0-9]")" -gt 8 && echo THROUGH'),
    Attempt("server", "sockets of the host", "ls /run/docker.sock /var/run/docker.sock /run/dbus/system_bus_socket 2>/dev/null | grep -q . && echo THROUGH"),
    Attempt("server", "abstract sockets of the host", "grep -q lm-sandbox-uid /proc/net/unix && echo THROUGH"),
    Attempt("server", "signal every process", "kill -9 1; kill -9 -1"),
    Attempt("server", "read the parent's memory", _python("open(f'/proc/{os.getppid()}/mem' if os.getppid() else '/proc/0/mem').read(1)\nif os.getppid() <= 1: print('THROUGH')")),
    Attempt("descriptors", "more than three are open", _python("if sorted(os.listdir('/proc/self/fd')) != ['0', '1', '2', '3']: print('THROUGH')")),
    Attempt("devices", "make a block device", "mknod /tmp/sda b 8 0 2>/dev/null && echo THROUGH"),
    Attempt("devices", "make a memory device", "mknod /workspace/mem c 1 1 2>/dev/null && echo THROUGH"),
    Attempt("devices", "disks are there", "ls /dev/sd* /dev/vd* /dev/nvme* /dev/loop* /dev/mem /dev/kmsg /dev/fuse /dev/kvm 2>/dev/null | grep -q . && echo THROUGH"),
    Attempt("privileges", "become root", "su -c id 2>/dev/null | grep -q uid=0 && echo THROUGH; sudo -n id 2>/dev/null | grep -q uid=0 && echo THROUGH"),
    Attempt("privileges", "set the user id", _python("os.setuid(0); print('THROUGH')")),
    Attempt("privileges", "a set-uid copy of bash", "cp /bin/bash /tmp/b && chmod 4755 /tmp/b && /tmp/b -p -c 'id -u' | grep -qx 0 && echo THROUGH"),
    Attempt("privileges", "capabilities", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -qv 0000000000000000 && echo THROUGH"),
    Attempt("privileges", "no filter or privileges to gain", "grep -qx 'Seccomp:\t2' /proc/self/status && grep -qx 'NoNewPrivs:\t1' /proc/self/status || echo THROUGH"),
    Attempt("privileges", "nested user namespace", "unshare -U true 2>/dev/null && echo THROUGH"),
    Attempt("privileges", "nested bwrap", "bwrap --ro-bind / / true 2>/dev/null && echo THROUGH"),
    Attempt("privileges", "raise the descriptor limit", "ulimit -n 1000000 2>/dev/null && echo THROUGH"),
    Attempt("terminals", "push input with TIOCSTI", _python("import fcntl, pty\nm, s = pty.openpty()\nfcntl.ioctl(s, 0x5412, b'x'); print('THROUGH')")),
    Attempt("terminals", "TIOCSTI with high bits", _python("import pty\nm, s = pty.openpty()\nthrough(libc.ioctl(s, ctypes.c_ulong(0x100005412), b'x'))")),
    Attempt("terminals", "change the line discipline", _python("import fcntl, pty\nm, s = pty.openpty()\nfcntl.ioctl(s, 0x5423, bytes(4)); print('THROUGH')")),
    Attempt("terminals", "TIOCLINUX", _python("through(libc.ioctl(0, 0x541C, b'\\x02'))")),
    *(Attempt("system calls", name, _python(code)) for name, code in SYSCALLS_X86.items()),
    *(Attempt("network", name, _python(f"{code}; print('THROUGH')")) for name, code in SOCKETS.items()),
    Attempt("resources", "lock much memory", "ulimit -l 10000000 2>/dev/null && echo THROUGH"),
    Attempt("resources", "a real-time class", "chrt -f 50 true 2>/dev/null && echo THROUGH"),
    Attempt("resources", "a core file", "ulimit -c unlimited 2>/dev/null && echo THROUGH"),
]  # fmt: skip


def attempts_on(driver: str) -> list[Attempt]:
    """Leaves out what a sandbox of this driver has of its own, so that reading it proves nothing."""
    own = {f"read {path}" for path in SYSTEM_FILES} if driver == "docker" else set()
    return [attempt for attempt in ATTEMPTS if attempt.name not in own]
