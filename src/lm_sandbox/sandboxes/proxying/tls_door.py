"""TLS as it comes in: the name in its first message decides, and must be the one that was asked for."""

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteStream

from lm_sandbox.errors import EgressDenied, Invalid, LmSandboxError, Unreachable
from lm_sandbox.sandboxes.hosts import Authority, parse_host
from lm_sandbox.sandboxes.proxying.client_hello import (
    ACCESS_DENIED,
    is_whole,
    looks_like_tls,
    server_name,
)
from lm_sandbox.sandboxes.proxying.gate import Gate
from lm_sandbox.sandboxes.proxying.relay import GONE, PIECE, Resumed, relay
from lm_sandbox.sandboxes.proxying.vault import Vault

TLS_PORT = 443
HELLO_S = 15.0

Secretly = Callable[[ByteStream, Authority], Awaitable[None]]


class TlsDoor:
    """Takes TLS connections of programs that know nothing of a proxy.

    Args:
        gate: Where they pass.
        vault: The secrets of the sandbox.
        secretly: Takes those to a host that has secrets.
    """

    def __init__(self, gate: Gate, vault: Vault, secretly: Secretly) -> None:
        self._gate = gate
        self._vault = vault
        self._secretly = secretly

    async def serve(self, stream: ByteStream) -> None:
        """Leads one connection to the server that its handshake names."""
        target = "a TLS connection"
        try:
            hello = await read_hello(stream, b"")
            name = server_name(hello)
            if name is None:
                raise EgressDenied("The TLS handshake names no server.")
            authority = Authority(parse_host(name), TLS_PORT)
            target = str(authority)
            if self._vault.for_host(authority.host):
                await self._secretly(Resumed(stream, hello), authority)
                return
            async with self._gate.connection(authority) as upstream:
                await upstream.send(hello)
                await relay(stream, upstream)
        except anyio.EndOfStream:
            return
        except LmSandboxError as error:
            if not isinstance(error, Unreachable):
                self._gate.note(target, error.message)
            await refuse(stream)


async def read_hello(stream: ByteStream, data: bytes) -> bytes:
    """Reads on until the client's whole first message is there, and returns all that came.

    Raises:
        Invalid: it is no TLS handshake, or does not come in time.
        anyio.EndOfStream: the client has gone.
    """
    try:
        with anyio.fail_after(HELLO_S):
            while not is_whole(data):
                data += await stream.receive(PIECE)
    except TimeoutError as error:
        raise Invalid("No TLS handshake came in time.") from error
    return data


async def opening(stream: ByteStream, target: Authority, data: bytes) -> bytes:
    """Returns the first bytes for a tunnel, once it is sure that they lead to where it was opened to.

    Raises:
        EgressDenied: the handshake names another server.
        Invalid: port 443 gets something that is no TLS.
        anyio.EndOfStream: the client has gone.
    """
    data = data or await stream.receive(PIECE)
    if target.port != TLS_PORT and not looks_like_tls(data):
        return data
    hello = await read_hello(stream, data)
    name = server_name(hello)
    same = name is None if target.host.address is not None else _names(name, target)
    if not same:
        asked = "no server" if name is None else repr(name)
        raise EgressDenied(f"The TLS handshake names {asked}, but the tunnel was opened to {target.host}.")
    return hello


async def refuse(stream: ByteStream) -> None:
    """Tells a TLS client that it is refused, in the way that it understands."""
    try:
        await stream.send(ACCESS_DENIED)
    except GONE:
        return  # It has gone itself.


def _names(name: str | None, target: Authority) -> bool:
    try:
        return name is not None and parse_host(name) == target.host
    except Invalid:
        return False
