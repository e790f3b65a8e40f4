"""Starts sandboxes and their zygotes for the server. Run as a file with `python -I -S`.

It imports nothing but the standard library, all of it before the first fork: a zygote must never
import a module from the sandbox's files. It is single-threaded, so that forking is safe and setns
into a user namespace is allowed.

usage: launcher.py CONTROL [LISTENER PATH SECONDS VERSION]

Requests come as JSON with descriptors over a SOCK_SEQPACKET socket, CONTROL. When that ends, the server
is gone. With a LISTENER, a socket bound to PATH, the launcher then waits some SECONDS for another
server of the same VERSION, which gets back what the first one had it keep; what was not kept is ended.
Otherwise everything that was started is killed, its cgroups are removed, and the launcher ends.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
import overlays  # type: ignore[import-not-found]
import sockets  # type: ignore[import-not-found]
import volumes  # type: ignore[import-not-found]
import zygote  # type: ignore[import-not-found]
from custody import SAFE_FD, Custody  # type: ignore[import-not-found]
from file_agent.serving import FileAgent  # type: ignore[import-not-found]
from handover import Succession  # type: ignore[import-not-found]

sys.path.clear()

Message = dict[str, Any]
T = TypeVar("T")

MESSAGE_BYTES = 256 * 1024
# How often the launcher looks whether the killed have gone.
PATIENCE = 200
MAX_FDS = 32
# Which of the descriptors for bwrap is the one that it tells its child's number by.
INFO = 2
PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 0x4000, 0x40000
LIBC = ctypes.CDLL(None, use_errno=True)


class Launcher:
    """Everything that was started and has to be ended, and what is kept for another server."""

    def __init__(self, control: socket.socket, succession: Succession | None) -> None:
        self.control = control
        self.succession = succession
        self.wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.custody = Custody()
        self.do_keep, self.do_drop = self.custody.keep, self.custody.drop
        self.do_kept, self.do_recall = self.custody.names, self.custody.recall
        self.inits: dict[str, int] = {}
        self.cgroups: dict[str, list[str]] = {}
        self.zygotes: dict[str, dict[str, int]] = {}
        self.file_agents: dict[str, int] = {}
        self.monitors: dict[str, int] = {}

    def serve(self) -> None:
        """Answers requests until the server is gone."""
        while True:
            watched = [self.control.fileno(), self.wake]
            if self.succession:
                watched.append(self.succession.listener.fileno())
            ready, _, _ = select.select(watched, [], [])
            if self.wake in ready:
                os.read(self.wake, 4096)
                _reap()
            if self.control.fileno() in ready:
                if not self._answer():
                    return
            elif self.succession and self.succession.listener.fileno() in ready:
                # Only where the server has said nothing: its end is the last that it says.
                self.succession.turn_away()

    def succeeded(self) -> bool:
        """Waits for another server, and tells whether one has come."""
        control = self.succession and self.succession.wait(self.wake, _reap, self.custody.recorder())
        if not control:
            return False
        self.control.close()
        self.control = control
        self._end({sandbox for sandbox in self.monitors if not self.custody.has(sandbox, "sandbox")})
        return True

    def _answer(self) -> bool:
        data, fds = zygote.receive(self.control, MESSAGE_BYTES, MAX_FDS)
        if not data:
            return False
        request = json.loads(data)
        if "payload" in request:
            request = json.loads(os.pread(fds[-1], request["payload"], 0))
            os.close(fds.pop())
        sent: list[int] = []
        try:
            answer = getattr(self, "do_" + request["do"])(request, fds)
        except OSError as error:
            answer = {"errno": error.errno, "error": os.strerror(error.errno or 0)}
        finally:
            kept = self.inits.values()
            for fd in fds:
                if fd not in kept:
                    os.close(fd)
        if "sent" in answer:
            sent = answer.pop("sent")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent))] if sent else []
        # Whoever has asked may be gone; that is seen when the next request is read.
        with contextlib.suppress(ConnectionError):
            self.control.sendmsg([json.dumps({"id": request["id"], **answer}).encode()], rights)
        return True

    def do_quit(self, request: Message, fds: list[int]) -> Message:
        """No other server is to be waited for."""
        del request, fds
        if self.succession:
            self.succession.close()
        self.succession = None
        return {}

    def do_bwrap(self, request: Message, fds: list[int]) -> Message:
        """Starts bwrap; descriptors: arguments, then what the arguments refer to, then the ready pipe."""
        self.cgroups[request["sandbox"]] = request["cgroups"]
        pid = os.fork()
        if pid == 0:
            _child(lambda: _become_bwrap(request, fds))
        self.monitors[request["sandbox"]] = pid
        return {"pid": pid}

    def do_zygote(self, request: Message, fds: list[int]) -> Message:
        """Forks a zygote; descriptors: its socket, the init's pidfd, the filter."""
        sock, init, bpf = fds
        self.inits.setdefault(request["sandbox"], init)
        pid = os.fork()
        if pid == 0:
            _child(lambda: zygote.run(LIBC, request, sock, init, bpf))
        self.zygotes.setdefault(request["sandbox"], {})[request["place"]] = pid
        return {"pid": pid}

    def do_sockets(self, request: Message, fds: list[int]) -> Message:
        """Forks what makes sockets; descriptors: where they are sent to, the network namespace."""
        reply, network = fds
        pid = os.fork()
        if pid == 0:
            _child(lambda: sockets.run(LIBC, request, reply, network))
        return {"pid": pid}

    def do_refresh(self, request: Message, fds: list[int]) -> Message:
        """Forgets what is remembered of overlays; descriptor: the mount namespace that they are in."""
        pid = os.fork()
        if pid == 0:
            _child(lambda: overlays.refresh(LIBC, request, fds[0]))
        if os.waitpid(pid, 0)[1] != 0:
            raise OSError(errno.EIO, "")
        return {}

    def do_files(self, request: Message, fds: list[int]) -> Message:
        """Forks a file agent; descriptors: as for a zygote."""
        sock, init, bpf = fds
        self.inits.setdefault(request["sandbox"], init)
        pid = os.fork()
        if pid == 0:
            _child(lambda: _become_file_agent(request, sock, init, bpf))
        self.file_agents[request["sandbox"]] = pid
        return {"pid": pid}

    def do_forget(self, request: Message, fds: list[int]) -> Message:
        """The server has ended a sandbox."""
        del fds
        for known in (self.cgroups, self.zygotes, self.file_agents, self.monitors):
            known.pop(request["sandbox"], None)
        self.custody.forget(request["sandbox"])
        init = self.inits.pop(request["sandbox"], None)
        if init is not None:
            os.close(init)
        return {}

    def do_abort(self, request: Message, fds: list[int]) -> Message:
        """A sandbox did not come up: its monitor takes with it what it has started."""
        monitor = self.monitors.get(request["sandbox"])
        if monitor is not None:
            _quietly(os.kill, monitor, signal.SIGKILL)
        return self.do_forget(request, fds)

    def end_all(self) -> None:
        """Kills what is left and removes its cgroups."""
        paths = {path for paths in self.cgroups.values() for path in paths}
        self._end(set(self.cgroups) | set(self.monitors) | self.custody.sandboxes())
        for parent in set(map(os.path.dirname, paths)):
            _quietly(os.rmdir, parent)

    def _end(self, sandboxes: set[str]) -> None:
        """Kills what is in some sandboxes, removes their cgroups, and forgets them."""
        for sandbox in sandboxes:
            if sandbox in self.inits:
                _quietly(signal.pidfd_send_signal, self.inits[sandbox], signal.SIGKILL)
            ours = [known[sandbox] for known in (self.file_agents, self.monitors) if sandbox in known]
            for pid in (*ours, *self.zygotes.get(sandbox, {}).values()):
                _quietly(os.kill, pid, signal.SIGKILL)
        _remove({path for sandbox in sandboxes for path in self.cgroups.get(sandbox, ())})
        for sandbox in sandboxes:
            self.do_forget({"sandbox": sandbox}, [])


def thaw(cgroups: set[str]) -> None:
    """Lets what is in some cgroups go on."""
    for path in cgroups:
        _quietly(_write, f"{path}/freezer.state", b"THAWED")
        _quietly(_write, f"{path}/cgroup.freeze", b"0")


def _remove(cgroups: set[str]) -> None:
    """Removes cgroups as soon as what was killed in them is gone."""
    # What is halted does not even die.
    thaw(cgroups)
    for _ in range(PATIENCE):
        for path in cgroups:
            _quietly(os.rmdir, path)
        if not any(map(os.path.isdir, cgroups)):
            return
        _reap()
        time.sleep(0.02)


def _become_file_agent(request: Message, sock: int, init: int, bpf: int) -> None:
    # Not the pid namespace: what it forks would be seen and signalled from inside.
    zygote.confine(LIBC, request, sock, init, bpf, without="pid")
    FileAgent(socket.socket(fileno=sock)).serve()


def _become_bwrap(request: Message, fds: list[int]) -> None:
    zygote.join(request["cgroups"])
    if request["storage"]:
        _mount_storage(request)
    users: int | None = None
    if request.get("system"):
        users = _told("layers", fds[INFO], lambda: int(overlays.mount(LIBC, request)))
        fds.append(users)
    if request["volumes"]:
        _told("volumes", fds[INFO], lambda: volumes.mount(LIBC, request, users))
    first = request["first_fd"]
    safe = [fcntl.fcntl(fd, fcntl.F_DUPFD, SAFE_FD) for fd in fds]
    for number, fd in enumerate(safe):
        os.dup2(fd, first + number, inheritable=True)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    if request["uid"] is not None:
        os.setgroups([])
        os.setresgid(request["uid"], request["uid"], request["uid"])
        os.setresuid(request["uid"], request["uid"], request["uid"])
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.closerange(3, first)
    os.closerange(first + len(fds), zygote.open_files())
    arguments = ["bwrap", "--args", str(first), "--", *request["init"]]
    os.execve(request["bwrap"], arguments, {})  # noqa: S606 - no shell is meant


def _mount_storage(request: Message) -> None:
    """One tmpfs for all that the sandbox may write, in a mount namespace that ends with it."""
    _call(LIBC.unshare, CLONE_NEWNS)
    _call(LIBC.mount, b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    storage = request["storage"]
    options = f"size={request['disk_bytes']},nr_inodes={request['inodes']},mode=0755"
    _call(LIBC.mount, b"tmpfs", storage.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode())
    for name in request["writable"]:
        path = f"{storage}/{name}"
        os.mkdir(path, 0o755)  # noqa: PTH102
        os.chown(path, request["uid"], request["uid"])
        if name in {"tmp", "vartmp", "shm"}:
            os.chmod(path, 0o1777)  # noqa: PTH101, S103 - as /tmp is


def _told(what: str, info: int, mount: Callable[[], T]) -> T:
    """Mounts something; why that cannot be is told where bwrap would tell what it has started."""
    try:
        return mount()
    except OSError as error:
        os.write(info, json.dumps({"refused": what, "why": error.strerror}).encode())
        raise


def _call(function: Callable[..., object], *arguments: object) -> None:
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "namespace set-up")


def _child(work: Callable[[], None]) -> None:
    """Runs in a fork and never returns to the launcher's loop."""
    try:
        signal.set_wakeup_fd(-1)
        work()
    except BaseException as error:  # noqa: BLE001 - a child must end here, whatever went wrong
        os.write(2, f"launcher: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(125)


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _quietly(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except OSError:
        return  # It is gone already, which is what was wanted.


def main(kind: type[Launcher] = Launcher) -> None:
    """Serves until the server is gone, then leaves nothing behind."""
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    LIBC.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    gc.collect()
    gc.freeze()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    succession = None
    if sys.argv[2:]:
        listener = socket.socket(fileno=int(sys.argv[2]))
        listener.set_inheritable(False)
        succession = Succession(listener, sys.argv[3], float(sys.argv[4]), sys.argv[5])
    launcher = kind(control, succession)
    launcher.serve()
    while launcher.succeeded():
        launcher.serve()
    launcher.end_all()
    if launcher.succession:
        launcher.succession.close()


if __name__ == "__main__":
    main()
