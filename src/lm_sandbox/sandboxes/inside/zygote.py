"""A process that enters a sandbox, gives up every privilege, and starts programs on request.

It stays outside the sandbox's pid namespace, so nothing inside can see, signal or trace it; what it
starts is inside. Imported by the launcher before the first fork; standard library only.
"""

import array
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import termios
from typing import Any

Message = dict[str, Any]

MESSAGE_BYTES = 256 * 1024
MAX_FDS = 8
# By their names in /proc/PID/ns.
NAMESPACES = {
    "user": 0x10000000,
    "mnt": 0x00020000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
NOT_FOUND, NOT_EXECUTABLE = 127, 126
TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431
# Programs are taken first when memory runs out; less than 0 only root may ask for.
OOM_PROGRAM, OOM_ZYGOTE, OOM_ZYGOTE_OF_USER = b"300", b"-500", b"0"


def receive(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Takes one message and its descriptors, none of which a program can inherit."""
    room = socket.CMSG_SPACE(most * 4)
    try:
        data, ancillary, _, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # Told once, where the other side is gone with answers unread; what it had asked before still comes.
        data, ancillary, _, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def join(cgroups: list[str]) -> None:
    """Moves this process into every one of the cgroups."""
    for path in cgroups:
        fd = os.open(f"{path}/cgroup.procs", os.O_WRONLY)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def run(libc: ctypes.CDLL, request: Message, sock_fd: int, init: int, bpf: int) -> None:
    """Becomes the zygote of a sandbox; returns when the server closes the socket."""
    oom = confine(libc, request, sock_fd, init, bpf)
    Zygote(socket.socket(fileno=sock_fd), oom, request["env"]).serve()


def confine(  # noqa: PLR0913, PLR0917 - what a process of ours is made of
    libc: ctypes.CDLL, request: Message, sock_fd: int, init: int, bpf: int, without: str = ""
) -> int:
    """Enters the sandbox with nothing but the socket, and gives up every privilege.

    `without` names a namespace that it stays out of. Returns a descriptor of its out-of-memory score.
    """
    join(request["cgroups"])
    oom = _oom_score(libc)
    program = os.pread(bpf, 1 << 20, 0)
    if request["uid"] is not None:
        # Before entering: an unprivileged user namespace forbids it afterwards.
        os.setgroups([])
    _enter(libc, init, [name for name in request["namespaces"] if name != without])
    close_all_but({sock_fd, oom})
    _limit(request)
    _drop(libc, request)
    seal(libc, program)
    return oom


def _oom_score(libc: ctypes.CDLL) -> int:
    """Opens its own score, which the kernel lets an ordinary user do only while it is dumpable."""
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        return os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    finally:
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _enter(libc: ctypes.CDLL, init: int, namespaces: list[str]) -> None:
    if libc.setns(init, sum(NAMESPACES[name] for name in namespaces)) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.chdir("/")


def close_all_but(kept: set[int]) -> None:
    """Closes every descriptor but these; the first three lead nowhere."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    start = 3
    for fd in sorted(kept - {-1}):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, open_files())


def open_files() -> int:
    """One more than the highest number that a descriptor can have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _limit(request: Message) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in request["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _drop(libc: ctypes.CDLL, request: Message) -> None:
    # The bounding set first: leaving root takes the right to drop it.
    kept = request["capabilities"]
    drop_bounding(libc, kept)
    uid = request["inner_uid"]
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    keep_only(libc, kept)


def drop_bounding(libc: ctypes.CDLL, kept: list[int]) -> None:
    """Lets nothing that is executed later have other capabilities than these."""
    for capability in set(range(LAST_CAPABILITY + 1)) - set(kept):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 and ctypes.get_errno() != errno.EINVAL:
            raise OSError(ctypes.get_errno(), "bounding set")


def keep_only(libc: ctypes.CDLL, kept: list[int]) -> None:
    """Gives up all capabilities but these, whose numbers are below 32."""
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    mask = sum(1 << number for number in kept)
    header, sets = struct.pack("Ii", CAPABILITY_VERSION_3, 0), struct.pack("6I", mask, mask, 0, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def seal(libc: ctypes.CDLL, program: bytes) -> None:
    """Takes on what holds for good: no new privileges, and the system call filter."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    bpf = Program(len(program) // 8, program)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(bpf), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


class Zygote:
    """Starts programs and tells how they end."""

    def __init__(self, sock: socket.socket, oom: int, env: Message) -> None:
        self.sock = sock
        self.oom = oom
        self.oom_own = _protect(oom)
        self.env = env
        self.pids: dict[int, int] = {}
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Answers requests until the server closes the socket."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._tell({"ready": True})
        while True:
            ready, _, _ = select.select([self.sock.fileno(), wake_read], [], [])
            if wake_read in ready:
                os.read(wake_read, 4096)
                self._reap()
            if self.sock.fileno() in ready and not self._answer():
                return

    def _answer(self) -> bool:
        data, fds = receive(self.sock, MESSAGE_BYTES, MAX_FDS)
        if not data:
            return False
        request = json.loads(data)
        if "payload" in request:
            request |= json.loads(os.pread(fds[-1], request["payload"], 0))
        if "signal" in request:
            self._signal(request)
        elif "list" in request:
            self._tell({"running": [(number, pid) for pid, number in self.pids.items()]})
        elif "terminal" in request:
            self._open_terminal(request)
        else:
            self._start(request, fds)
        for fd in fds:
            os.close(fd)
        return True

    def _start(self, request: Message, fds: list[int]) -> None:
        given = iter(fds[2:])
        streams = [next(given) if request["stdin"] else self.null, fds[0], fds[1]]
        streams += [next(given)] if request["channel"] else []
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)]
        self._launch(request, actions, fds[1])

    def _open_terminal(self, request: Message) -> None:
        try:
            master, slave, path = open_pseudo_terminal(*request["terminal"])
        except OSError as error:
            self._tell({"id": request["id"], "refused": os.strerror(error.errno or 0)})
            return
        # A session leader that opens it gets it as its controlling terminal.
        opening = (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0)
        actions = [opening, *((os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2))]
        self._launch(request, actions, slave, master, slave)
        os.close(master)
        os.close(slave)

    def _launch(self, request: Message, actions: list[Any], stderr: int, *sent: int) -> None:
        try:
            os.chdir(request["cwd"])
            pid = self._spawn(request, actions)
        except OSError as error:
            self._refuse(request, stderr, error, *sent)
            return
        finally:
            os.chdir("/")
        self.pids[pid] = request["id"]
        self._tell({"id": request["id"], "pid": pid}, *sent)

    def _spawn(self, request: Message, actions: list[Any]) -> int:
        env = self.env | request["env"]
        argv = request["argv"]
        self._oom(OOM_PROGRAM)
        try:
            problem = FileNotFoundError(errno.ENOENT, argv[0])
            for path in _candidates(argv[0], env.get("PATH", "")):
                try:
                    return os.posix_spawn(
                        path, argv, env, file_actions=actions, setsid=True, setsigmask=[],
                        setsigdef=range(1, signal.NSIG),
                    )  # fmt: skip
                except FileNotFoundError:
                    continue
            raise problem
        finally:
            self._oom(self.oom_own)

    def _oom(self, score: bytes) -> None:
        os.pwrite(self.oom, score, 0)

    def _refuse(self, request: Message, stderr: int, error: OSError, *sent: int) -> None:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        what = f"{request['argv'][0]}: {os.strerror(error.errno or 0)}"
        if not os.path.isdir(request["cwd"]):  # noqa: PTH112
            what = f"cannot enter {request['cwd']}: {os.strerror(error.errno or 0)}"
        try:
            os.write(stderr, f"lm-sandbox: {what}\n".encode(errors="replace"))
        except OSError:
            what = ""  # Nobody reads it any more.
        code = NOT_FOUND if missing else NOT_EXECUTABLE
        self._tell({"id": request["id"], "code": code, "busy": error.errno == errno.EAGAIN}, *sent)

    def _signal(self, request: Message) -> None:
        for pid, command in self.pids.items():
            if command == request["id"]:
                try:
                    os.killpg(request.get("group") or pid, request["signal"])
                except ProcessLookupError:
                    return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            command = self.pids.pop(pid, None)
            if command is not None:
                self._tell({"id": command, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: Message, *fds: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([json.dumps(message).encode()], rights)


def open_pseudo_terminal(rows: int, columns: int) -> tuple[int, int, str]:
    """Opens one of the sandbox's own: master, slave, and the slave's name; nobody's controlling terminal."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        (number,) = struct.unpack("I", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        path = f"/dev/pts/{number}"
        return master, os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), path
    except OSError:
        os.close(master)
        raise


def _protect(oom: int) -> bytes:
    """Takes the lowest score that it may have, and returns it."""
    try:
        os.pwrite(oom, OOM_ZYGOTE, 0)
    except PermissionError:
        return OOM_ZYGOTE_OF_USER
    return OOM_ZYGOTE


def _candidates(program: str, path: str) -> list[str]:
    if "/" in program:
        return [program]
    return [f"{folder}/{program}" for folder in path.split(":") if folder]
