"""Messages to and from the launcher and the zygotes, on the event loop."""

import array
import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lm_sandbox.sandboxes.inside.zygote import receive

Message = dict[str, Any]

MESSAGE_BYTES = 256 * 1024
# What fits into one message whatever the host's socket buffers are; more travels in a file.
INLINE_BYTES = 48 * 1024
MAX_FDS = 8


class Channel:
    """One end of a SOCK_SEQPACKET socket.

    Args:
        sock: Non-blocking; owned from now on.
        on_message: Called with every message; descriptors that came with it are under `fds`, and are
            the receiver's to close.
        on_end: Called once, when the other side is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._waiting: list[asyncio.Future[None]] = []
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    @property
    def closed(self) -> bool:
        """Whether the other side is gone or this one was closed."""
        return self._sock.fileno() < 0

    async def send(self, message: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Sends a message with descriptors, which stay the caller's.

        Raises:
            BrokenPipeError: the other side is gone.
        """
        data = json.dumps(message).encode()
        if len(data) <= INLINE_BYTES:
            await self._send(data, fds)
            return
        payload = os.memfd_create("message")
        try:
            os.write(payload, data)
            await self._send(json.dumps({"payload": len(data)}).encode(), [*fds, payload])
        finally:
            os.close(payload)

    def close(self) -> None:
        """Ends the connection; idempotent."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock.fileno())
        loop.remove_writer(self._sock.fileno())
        # The launcher may have another descriptor of it.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._wake()

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while True:
            if self.closed:
                raise BrokenPipeError
            try:
                self._sock.sendmsg([data], rights)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise BrokenPipeError from error
            else:
                return

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        loop.add_writer(self._sock.fileno(), self._wake)
        await future

    def _wake(self) -> None:
        if not self.closed:
            asyncio.get_running_loop().remove_writer(self._sock.fileno())
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting = []

    def _readable(self) -> None:
        fds: list[int] = []
        try:
            data, fds = receive(self._sock, MESSAGE_BYTES, MAX_FDS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_message(_unpacked(json.loads(data), fds))
            return
        self.close()
        self._on_end()


def _unpacked(message: Message, fds: list[int]) -> Message:
    """Reads what travelled in a file, and puts the other descriptors, if any, under `fds`."""
    if "payload" in message:
        with os.fdopen(fds.pop(), "rb") as payload:
            payload.seek(0)
            message = json.load(payload)
    return {**message, "fds": fds} if fds else message
