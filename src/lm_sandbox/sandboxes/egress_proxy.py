"""Enforces an egress policy: everything that a sandbox reaches, it reaches through this.

A sandbox has no route to anywhere. The server listens on the sandbox's own loopback: port 3128 for
programs that know a proxy; 53, 80 and 443 for those that do not, which are told by 53 that every
allowed name is at 127.0.0.1.
"""

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

import anyio
import httpx
from anyio.abc import ByteStream, SocketListener, SocketStream, TaskGroup, UDPSocket

from lm_sandbox.sandboxes.driver import Door
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.events import Events
from lm_sandbox.sandboxes.proxying.budget import Budget
from lm_sandbox.sandboxes.proxying.dialer import Dialer, Resolve
from lm_sandbox.sandboxes.proxying.dns_door import DnsDoor
from lm_sandbox.sandboxes.proxying.gate import Gate
from lm_sandbox.sandboxes.proxying.http_door import HttpDoor
from lm_sandbox.sandboxes.proxying.relay import GONE
from lm_sandbox.sandboxes.proxying.tls_door import TlsDoor
from lm_sandbox.sandboxes.proxying.vault import Vault

LOG = logging.getLogger(__name__)

PROXY_PORT = 3128
MOST_CONNECTIONS = 128
ACCEPT_AGAIN_S = 0.1
DOORS = (
    Door(PROXY_PORT),
    Door(80),
    Door(443),
    Door(53),
    Door(53, socket.SOCK_DGRAM),
)
PROXY_URL = f"http://127.0.0.1:{PROXY_PORT}"
LOCAL = "localhost,127.0.0.1,::1"
# Programs read one spelling or the other.
PROXY_ENV = {
    "HTTP_PROXY": PROXY_URL,
    "HTTPS_PROXY": PROXY_URL,
    "http_proxy": PROXY_URL,
    "https_proxy": PROXY_URL,
    "NO_PROXY": LOCAL,
    "no_proxy": LOCAL,
}

Serve = Callable[[ByteStream], Awaitable[None]]


class EgressProxy:
    """The way out of one sandbox.

    Args:
        policy: What may be reached.
        events: Where refusals are noted.
        resolve: Looks names up.
        models: This server's model API.
        budget: Bounds the connections of all sandboxes together.
        vault: The secrets of the sandbox.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a way out is made of
        self,
        policy: EgressPolicy,
        events: Events,
        resolve: Resolve,
        models: httpx.AsyncBaseTransport | None,
        budget: Budget,
        vault: Vault,
    ) -> None:
        self._gate = Gate(policy, Dialer(resolve), events)
        self._budget = budget
        self._http = HttpDoor(self._gate, models, vault)
        self._tls = TlsDoor(self._gate, vault, self._http.serve_secretly)
        self._dns = DnsDoor(self._gate)
        self._open = 0

    def change(self, policy: EgressPolicy) -> None:
        """Takes another policy; connections that it does not allow end at once."""
        self._gate.change(policy)

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Serves the doors until it is cancelled, and closes them.

        Args:
            sockets: One for each of `DOORS`, in that order; owned from now on.
        """
        handlers: tuple[Serve, ...] = (
            self._http.serve, self._http.serve, self._tls.serve, self._dns.serve,
        )  # fmt: skip
        with ExitStack() as held:
            for sock in sockets:
                held.enter_context(sock)
            async with anyio.create_task_group() as tasks:
                for sock, handler in zip(sockets, handlers, strict=False):
                    listener = await SocketListener.from_socket(sock)
                    tasks.start_soon(self._accept, listener, handler, tasks)
                names = await UDPSocket.from_socket(sockets[-1])
                tasks.start_soon(self._dns.serve_packets, names)

    async def _accept(self, listener: SocketListener, handler: Serve, tasks: TaskGroup) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError:
                    # The client has gone already, or this process has too much open.
                    await anyio.sleep(ACCEPT_AGAIN_S)
                    continue
                tasks.start_soon(self._handle, handler, stream)

    async def _handle(self, handler: Serve, stream: SocketStream) -> None:
        if self._open >= MOST_CONNECTIONS or not self._budget.take():
            self._gate.note("connections", "Too many connections are open; one was closed.")
            await stream.aclose()
            return
        self._open += 1
        try:
            async with stream:
                await self._guarded(handler, stream)
        finally:
            self._open -= 1
            self._budget.give()

    async def _guarded(self, handler: Serve, stream: SocketStream) -> None:
        try:
            await handler(stream)
        except (anyio.EndOfStream, *GONE):
            return
        except Exception:
            # Whatever one connection brings about, the others go on.
            LOG.exception("a connection of the egress proxy failed")
