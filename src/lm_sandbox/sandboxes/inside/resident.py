"""A process of ours in a sandbox, forked when it is first needed."""

import asyncio
import socket
from collections.abc import Callable
from typing import Literal

import anyio

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.inside.channel import Channel, Message
from lm_sandbox.sandboxes.inside.launch import Launcher

READY_S = 10.0


class Resident:
    """Has the launcher fork it, and again when it was lost.

    Args:
        kind: What the launcher calls it.
        launcher: Forks it.
        order: What it becomes.
        init: A pidfd of a process in the sandbox, owned by the caller.
        alive: Tells whether the sandbox's first process runs.
        on_message: Called with every message but the first.
        on_end: Called when it is gone.
    """

    def __init__(  # noqa: PLR0913 - what it is made from, and whom it tells
        self,
        kind: Literal["zygote", "files"],
        *,
        launcher: Launcher,
        order: Message,
        init: int,
        alive: Callable[[], bool],
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
    ) -> None:
        self._kind = kind
        self._launcher = launcher
        self._order = order
        self._init = init
        self._alive = alive
        self._tell = on_message
        self._tell_end = on_end
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._start_lock = anyio.Lock()

    async def channel(self) -> Channel:
        """Returns the way to the process, which may have to be started.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        async with self._start_lock:
            if self._channel is None or self._channel.closed:
                if not self._alive():
                    raise SandboxFailed("The sandbox has ended on its own; make a new one.")
                self._channel = await self._start()
            return self._channel

    def adopt(self, fd: int) -> None:
        """Takes the way to a process that an earlier server has started."""
        ours = socket.socket(fileno=fd)
        ours.setblocking(False)
        self._channel = Channel(ours, self._on_message, self._on_end)

    async def send_if_there(self, message: Message) -> None:
        """Sends a message unless there is no process that could care."""
        if self._channel is not None:
            try:
                await self._channel.send(message)
            except BrokenPipeError:
                return

    def close(self) -> None:
        """Ends the process."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def _start(self) -> Channel:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._ready.clear()
        channel = Channel(ours, self._on_message, self._on_end)
        try:
            with theirs:
                sent = [theirs.fileno(), self._init, self._launcher.bpf]
                await self._launcher.ask(self._kind, self._order, sent)
            with anyio.fail_after(READY_S):
                await self._ready.wait()
        except BaseException as error:
            # The process lives as long as this end is open.
            channel.close()
            if isinstance(error, TimeoutError):
                raise SandboxFailed("The sandbox does not answer; make a new one.") from error
            raise
        if channel.closed:
            raise SandboxFailed("The sandbox could not be entered; make a new one.")
        if self._kind == "zygote":
            await self._launcher.keep(self._order["sandbox"], self._order["place"], "", [ours.fileno()])
        return channel

    def _on_message(self, message: Message) -> None:
        if "ready" in message:
            self._ready.set()
        else:
            self._tell(message)

    def _on_end(self) -> None:
        self._ready.set()
        self._tell_end()
