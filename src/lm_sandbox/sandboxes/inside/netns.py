"""Sockets in a sandbox's network namespace, seen from the server."""

import array
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import anyio

from lm_sandbox.errors import Conflict, SandboxFailed, Unreachable
from lm_sandbox.sandboxes.driver import Door
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.launch import Launcher

ANSWER_S = 10.0
CONNECT_S = 5.0
ANCILLARY_BYTES = socket.CMSG_SPACE(16 * 4)
ENDED = "The sandbox has ended on its own; make a new one."


class NetworkNamespace:
    """The network namespace of one sandbox.

    Args:
        launcher: Its forks enter it.
        init_pid: A process in it.
        alive: Tells whether that process still runs, and the number is its own.
    """

    def __init__(self, launcher: Launcher, init_pid: int, alive: Callable[[], bool]) -> None:
        self._launcher = launcher
        self._init_pid = init_pid
        self._alive = alive

    async def listen(self, doors: Sequence[Door]) -> list[socket.socket]:
        """Listens on ports of the sandbox's own 127.0.0.1.

        Raises:
            Conflict: something in the sandbox has one of the ports.
            SandboxFailed: the sandbox is dead.
        """
        order = {"listen": [[door.port, int(door.kind)] for door in doors], "connect": []}
        problem, made = await self._ask(order)
        if problem == errno.EADDRINUSE:
            ports = ", ".join(str(door.port) for door in doors)
            raise Conflict(f"Something in the sandbox uses one of the ports {ports}; end it first.")
        return _checked(problem, made)

    async def connect(self, port: int) -> socket.socket:
        """Connects to a port of the sandbox's own 127.0.0.1.

        Raises:
            Unreachable: nothing listens there, or it does not take the connection.
            SandboxFailed: the sandbox is dead.
        """
        problem, made = await self._ask({"listen": [], "connect": [port]})
        if problem == errno.ECONNREFUSED:
            raise _refused(port)
        sock = _checked(problem, made)[0]
        try:
            with anyio.fail_after(CONNECT_S):
                await anyio.wait_writable(sock)
        except TimeoutError as error:
            sock.close()
            raise Unreachable(f"Port {port} takes no connection.", status=504) from error
        except BaseException:
            sock.close()
            raise
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            raise _refused(port)
        return sock

    async def _ask(self, order: Message) -> tuple[int, list[socket.socket]]:
        """Returns the number of the error, 0 for none, and the sockets."""
        with ExitStack() as held:
            network = self._open(held)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            held.enter_context(ours)
            with theirs:
                await self._launcher.ask("sockets", order, [theirs.fileno(), network])
            ours.setblocking(False)
            with anyio.move_on_after(ANSWER_S):
                await anyio.wait_readable(ours)
            answer = _receive(ours)
            with anyio.move_on_after(ANSWER_S):
                await anyio.wait_readable(ours)
            return answer

    def _open(self, held: ExitStack) -> int:
        try:
            network = os.open(f"/proc/{self._init_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxFailed(ENDED) from error
        held.callback(os.close, network)
        if not self._alive():
            raise SandboxFailed(ENDED)
        return network


def _receive(reply: socket.socket) -> tuple[int, list[socket.socket]]:
    fds = array.array("i")
    try:
        # Not `recv_fds`, which forgets its flags and lets every program inherit the sockets.
        data, ancillary, _, _ = reply.recvmsg(64, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return errno.ETIMEDOUT, []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return int(data or errno.EIO), [socket.socket(fileno=fd) for fd in fds]


def _checked(problem: int, made: list[socket.socket]) -> list[socket.socket]:
    if problem:
        raise SandboxFailed(f"The sandbox's network cannot be entered: {os.strerror(problem)}.")
    for sock in made:
        sock.setblocking(False)
    return made


def _refused(port: int) -> Unreachable:
    return Unreachable(f"Nothing listens on port {port} of the sandbox.")
