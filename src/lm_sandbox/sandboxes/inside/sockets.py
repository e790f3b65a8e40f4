"""Makes sockets in a sandbox's network namespace and hands them to the server.

Runs in a fork of the launcher and ends at once; nothing of the sandbox is read or run. Imported by the
launcher before the first fork; standard library only.
"""

import array
import ctypes
import errno
import fcntl
import os
import socket
from typing import Any

Message = dict[str, Any]

NS_GET_USERNS = 0xB701
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
LOOPBACK = "127.0.0.1"
BACKLOG = 128


def run(libc: ctypes.CDLL, request: Message, reply_fd: int, network: int) -> None:
    """Enters the namespace, makes what is asked for, and sends it, or the number of the error."""
    reply = socket.socket(fileno=reply_fd)
    try:
        _enter(libc, network)
        made = [_listen(port, kind) for port, kind in request["listen"]]
        made += [_connect(port) for port in request["connect"]]
    except OSError as error:
        reply.send(b"%d" % (error.errno or errno.EIO))
        return
    fds = array.array("i", [one.fileno() for one in made])
    reply.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    # The end of `reply` tells that nobody but the server has them any more.
    for one in made:
        one.close()


def _enter(libc: ctypes.CDLL, network: int) -> None:
    """The right to a network namespace comes from the user namespace that owns it."""
    owner = fcntl.ioctl(network, NS_GET_USERNS)
    entered = [(owner, CLONE_NEWUSER), (network, CLONE_NEWNET)]
    # Nobody can enter the user namespace that they are in.
    if os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user")):  # noqa: PTH116
        del entered[0]
    for namespace, kind in entered:
        if libc.setns(namespace, kind) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    os.close(owner)


def _listen(port: int, kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if kind == socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((LOOPBACK, port))
    if kind == socket.SOCK_STREAM:
        made.listen(BACKLOG)
    return made


def _connect(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    problem = made.connect_ex((LOOPBACK, port))
    if problem not in {0, errno.EINPROGRESS}:
        raise OSError(problem, "connect")
    return made
