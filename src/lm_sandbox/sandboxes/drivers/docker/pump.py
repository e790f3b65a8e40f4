"""Starts an exec and moves its output from the engine's connection into pipes, which outlive a server.

Runs in a fork of the launcher for as long as the exec does. Standard library only.
Source: Docker Engine API, "Attach to a container", stream format.
"""

import ctypes
import json
import os
import signal
import socket
from typing import Any

import engine_socket  # type: ignore[import-not-found]
import zygote  # type: ignore[import-not-found]

Message = dict[str, Any]

HEADER_BYTES = 8
PIECE_BYTES = 64 * 1024
STDOUT, STDERR = 1, 2
PR_SET_PDEATHSIG = 1
START = (
    "POST /exec/{program}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
    "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {size}\r\n\r\n{body}"
)


def run(libc: ctypes.CDLL, request: Message, fds: list[int]) -> None:
    """Does all of it; the end tells the exit code, `refused` where it never started, or nothing."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    zygote.close_all_but(set(fds))
    out, error, end, *stdin = fds
    connection = _started(request)
    if connection is None:
        os.write(end, b"refused\n")
        return
    if stdin and os.fork() == 0:
        _feed(libc, connection, stdin[0], {out, error, end})
        os._exit(0)
    for fd in stdin:
        os.close(fd)
    _take(connection, {STDOUT: out, STDERR: error})
    os.close(out)
    os.close(error)
    code = engine_socket.exit_code(request["engine"], request["program"])
    if code is not None:
        os.write(end, b"%d\n" % code)


def _started(request: Message) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    body = json.dumps({"Detach": False, "Tty": False})
    try:
        connection.connect(request["engine"])
        connection.sendall(START.format(program=request["program"], size=len(body), body=body).encode())
        head = b""
        # One by one: what follows is the program's.
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return None
            head += byte
    except OSError:
        return None
    return connection if head.split(b" ", 2)[1] in {b"101", b"200"} else None


def _feed(libc: ctypes.CDLL, connection: socket.socket, stdin: int, others: set[int]) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for fd in others:
        os.close(fd)
    try:
        while piece := os.read(stdin, PIECE_BYTES):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # The program has ended.


def _take(connection: socket.socket, outputs: dict[int, int]) -> None:
    """Moves frame after frame; a pipe that is full makes the program wait, as it would itself."""
    try:
        while header := _exactly(connection, HEADER_BYTES):
            left = int.from_bytes(header[4:], "big")
            while left > 0:
                piece = connection.recv(min(left, PIECE_BYTES))
                if not piece:
                    return
                left -= len(piece)
                _write(outputs.get(header[0]), piece)
    except OSError:
        return  # Nobody reads any more, or the engine has ended.


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _write(fd: int | None, data: bytes) -> None:
    left = memoryview(data)
    while left and fd is not None:
        left = left[os.write(fd, left) :]
