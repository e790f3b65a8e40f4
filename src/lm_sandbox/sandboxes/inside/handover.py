"""How a launcher whose server is gone finds another one. Standard library only, as `launcher` is."""

import contextlib
import json
import math
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

GREETING_S = 20.0


class Recorder(Protocol):
    """What goes on while nobody is there."""

    def watch(self, poll: select.poll) -> None:
        """Registers what is to be watched."""
        ...

    def take(self, ready: dict[int, int], poll: select.poll) -> None:
        """Takes what is there."""
        ...


class Succession:
    """How another server may take over from one that is gone."""

    def __init__(self, listener: socket.socket, path: str, wait_s: float, version: str) -> None:
        self.listener = listener
        self.path = path
        self.wait_s = wait_s
        self.version = version

    def wait(self, wake: int, reap: Callable[[], None], recorder: Recorder) -> socket.socket | None:
        """Returns the connection to another server of the same user, unless none comes in time."""
        # Unlike `select` it takes any number of them, and any numbers.
        poll = select.poll()
        for fd in (self.listener.fileno(), wake):
            poll.register(fd, select.POLLIN)
        recorder.watch(poll)
        end = time.monotonic() + self.wait_s
        while (left := end - time.monotonic()) > 0:
            ready = dict(poll.poll(math.ceil(left * 1000)))
            recorder.take(ready, poll)
            if wake in ready:
                os.read(wake, 4096)
                reap()
            if self.listener.fileno() in ready:
                control, _ = self.listener.accept()
                control.set_inheritable(False)
                word = self._greet(control)
                if word == b"take":
                    return control
                control.close()
                if word == b"quit":
                    return None
        return None

    def turn_away(self) -> None:
        """Tells a server that comes while there is one."""
        connection, _ = self.listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.send(b'{"busy": true}')

    def close(self) -> None:
        """Takes away the place where servers come to."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108
        self.listener.close()

    def _greet(self, control: socket.socket) -> bytes:
        """Says who this is, and returns what the server wants."""
        peer = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", peer)[1] != os.geteuid():
            return b""
        control.settimeout(GREETING_S)
        try:
            control.send(json.dumps({"busy": False, "version": self.version}).encode())
            word = control.recv(16)
        except OSError:
            return b""
        control.settimeout(None)
        return word
