"""Answers the server: the quick itself, the long in a fork that can be stopped."""

import json
import os
import select
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

import zygote  # type: ignore[import-not-found]

from . import archives, operations, paths, searching, trees, walking
from .refused import Refused
from .uploads import Uploads
from .watching import watch

Request = dict[str, Any]

MESSAGE_BYTES = 256 * 1024
INLINE_BYTES = 48 * 1024
MAX_FDS = 4
PR_SET_PDEATHSIG = 1
QUICK: dict[str, Callable[[Request], operations.Answer]] = {
    "look": operations.look,
    "list": operations.list_folder,
    "open": operations.open_file,
    "append": operations.append,
    "mkdir": operations.make_folder,
    "move": operations.move,
    "chmod": operations.change_mode,
    "delete": operations.delete,
}
LONG: dict[str, Callable[[Request], dict[str, Any]]] = {
    "find": walking.page,
    "grep": searching.grep,
    "copy": trees.copy,
    "carry": trees.carry,
    "remove": trees.remove,
}
STREAMS: dict[str, Callable[[Request, int], dict[str, Any]]] = {
    "pack": archives.pack,
    "unpack": archives.unpack,
    "watch": watch,
}


class Cancelled(BaseException):
    """The server wants no answer any more."""


class FileAgent:
    """Serves one sandbox.

    Args:
        sock: A SOCK_SEQPACKET socket to the server.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._uploads = Uploads()
        self._forks: dict[int, int] = {}

    def serve(self) -> None:
        """Answers requests until the server closes the socket; unfinished uploads are removed then."""
        # From here on an import could only find what the sandbox has put there.
        sys.meta_path.clear()
        warnings.simplefilter("ignore")
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._send({"ready": True})
        while True:
            ready, _, _ = select.select([self._sock.fileno(), wake_read], [], [])
            if wake_read in ready:
                os.read(wake_read, 4096)
                self._reap()
            if self._sock.fileno() in ready and not self._answer():
                self._uploads.abort_all()
                return

    def _answer(self) -> bool:
        data, fds = zygote.receive(self._sock, MESSAGE_BYTES, MAX_FDS)
        if not data:
            return False
        try:
            request = json.loads(data)
            if "payload" in request:
                request = json.loads(os.pread(fds[-1], request["payload"], 0))
            if "cancel" in request:
                self._cancel(request["cancel"])
            else:
                self._handle(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _handle(self, request: Request, fds: list[int]) -> None:
        given: list[int] = []
        try:
            if request["do"] in QUICK:
                answer, given = QUICK[request["do"]](request)
            elif request["do"] == "create":
                answer, fd = self._uploads.create(request)
                given = [fd]
            elif request["do"] == "commit":
                answer = self._uploads.commit(request)
            else:
                self._fork(request, fds)
                return
        except Exception as error:  # noqa: BLE001 - whatever it is becomes an answer
            answer = _failure(error)
        self._send({"id": request["id"], **answer}, given)
        for fd in given:
            os.close(fd)

    def _fork(self, request: Request, fds: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"id": request["id"], "errno": error.errno, "limit": "pids"})
            return
        if pid == 0:
            self._work(request, fds)
        self._forks[pid] = request["id"]

    def _work(self, request: Request, fds: list[int]) -> None:
        """Does it in a fork, which never comes back from here."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, _raise_cancelled)
            paths.LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            try:
                if request["do"] in STREAMS:
                    answer = STREAMS[request["do"]](request, fds[0])
                else:
                    answer = LONG[request["do"]](request)
            except Exception as error:  # noqa: BLE001 - whatever it is becomes an answer
                answer = _failure(error)
            self._send({"id": request["id"], **answer})
            status = 0
        finally:
            os._exit(status)

    def _cancel(self, number: int) -> None:
        self._uploads.abort(number)
        for pid, request in self._forks.items():
            if request == number:
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._forks.pop(pid, None)
            if number is not None and status != 0:
                killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
                self._send({"id": number, "errno": 5, "limit": "memory" if killed else None})

    def _send(self, message: Request, fds: list[int] | None = None) -> None:
        data = json.dumps(message).encode()
        fds = fds or []
        if len(data) <= INLINE_BYTES:
            socket.send_fds(self._sock, [data], fds)
            return
        payload = os.memfd_create("message")
        try:
            os.write(payload, data)
            socket.send_fds(self._sock, [json.dumps({"payload": len(data)}).encode()], [*fds, payload])
        finally:
            os.close(payload)


def _failure(error: Exception) -> Request:
    if isinstance(error, Refused):
        return {"refused": str(error), "field": error.field}
    if isinstance(error, MemoryError):
        return {"errno": 12, "limit": "memory"}
    return {"errno": getattr(error, "errno", None) or 5}


def _raise_cancelled(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cancelled
