"""What the egress attempts may reach and what they must not: servers on this host's loopback, with names."""

import asyncio
import ipaddress
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from lm_sandbox.sandboxes.hosts import Address
from lm_sandbox.sandboxes.verification.attempts import THROUGH

REACHED = "reached"
LONGEST = 65_536


@dataclass(slots=True)
class Listener:
    """A server that only counts who comes, and answers every request alike.

    Attributes:
        answer: What it writes.
        port: Where it listens.
        connections: How many came.
    """

    answer: bytes
    port: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes what is said, answers, and closes."""
        self.connections += 1
        with suppress(OSError):
            said = await reader.read(LONGEST)
            answer = self.answer
            if b" /redirect?" in said:
                where = said.split(b"/redirect?")[1].split(b" ")[0]
                answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % where
            writer.write(answer)
            await writer.drain()
        writer.close()


@dataclass(slots=True)
class Outside:
    """All of it.

    Attributes:
        address: Of the server that may be reached, as `up.test`.
        up: That server.
        evil: Those that must not be reached.
        env: What the attempts are told.
        names: What names stand for; of a list of answers the last one stays.
    """

    address: str
    up: Listener
    evil: list[Listener]
    env: Mapping[str, str]
    names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rules(self) -> list[str]:
        """The allowlist of the sandbox."""
        up, evil = f"{self.up.port},443", self.evil[0].port
        return [f"up.test:{up}", f"rebind.test:{evil}", f"inside.test:{evil}", f"{self.address}:{up}"]

    @property
    def reached(self) -> int:
        """How often something was reached that must not be."""
        return sum(server.connections for server in self.evil)

    async def resolve(self, name: str) -> list[Address]:
        """Looks a name up."""
        answers = self.names.get(name, [])
        text = answers.pop(0) if len(answers) > 1 else "".join(answers)
        return [ipaddress.ip_address(one) for one in text.split(",") if one]


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """Puts the servers up; those on ports of root's only where this is root."""
    good, bad = _loopback(), _loopback()
    hello = f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{REACHED}\n".encode()
    up, evil = (
        Listener(hello),
        [Listener(hello.replace(REACHED.encode(), THROUGH.encode())) for _ in range(4)],
    )
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(_listening(up, good))
        for server, address, port in zip(evil, (bad, "127.0.0.1", bad, bad), (0, 0, 80, 443), strict=True):
            with suppress(PermissionError):
                await exits.enter_async_context(_listening(server, address, port))
        abstract = f"lm-sandbox-verify-{bad}"
        evil.append(Listener(f"{THROUGH}\n".encode()))
        await exits.enter_async_context(_listening_locally(evil[-1], abstract))
        env = {
            "EVIL_IP": bad, "EVIL_PORT": str(evil[0].port), "UP_PORT": str(up.port), "ABSTRACT": abstract,
            "SERVER_PORT": str(evil[1].port),
        }  # fmt: skip
        names = {
            "up.test": [good], "evil.test": [bad], "inside.test": [bad],
            "rebind.test": [f"203.0.113.1,{bad}", bad],
            "localhost": ["127.0.0.1"], "metadata.google.internal": ["169.254.169.254"],
        }  # fmt: skip
        yield Outside(good, up, evil, env, names)


def _loopback() -> str:
    """An address of this machine that hardly anybody uses."""
    numbers = random.SystemRandom()
    return f"127.{numbers.randint(1, 254)}.{numbers.randint(1, 254)}.{numbers.randint(2, 254)}"


@asynccontextmanager
async def _listening(server: Listener, address: str, port: int = 0) -> AsyncIterator[None]:
    async with await asyncio.start_server(server.serve, address, port) as started:
        server.port = started.sockets[0].getsockname()[1]
        yield
        started.close()


@asynccontextmanager
async def _listening_locally(server: Listener, name: str) -> AsyncIterator[None]:
    async with await asyncio.start_unix_server(server.serve, f"\0{name}") as started:
        yield
        started.close()
