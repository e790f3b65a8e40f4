"""A real HTTP server for tests, with or without TLS, that tells what it was asked."""

import asyncio
import json
import random
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h11


@dataclass
class Upstream:
    """What listens, and what came in."""

    address: str
    port: int
    connections: int = 0
    asked: list[h11.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = h11.Connection(h11.SERVER)
        body = bytearray()
        try:
            while not isinstance(event := wire.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
                if event is h11.NEED_DATA:
                    wire.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    self.asked.append(event)
                elif isinstance(event, h11.Data):
                    body += event.data
            if isinstance(event, h11.EndOfMessage):
                self.bodies.append(bytes(body))
                await self._answer(wire, writer, bytes(body))
        except (OSError, h11.RemoteProtocolError):
            return
        finally:
            writer.close()

    async def _answer(self, wire: h11.Connection, writer: asyncio.StreamWriter, body: bytes) -> None:
        asked = self.asked[-1]
        target = asked.target.decode()
        if target.startswith("/redirect?"):
            where = target.partition("?")[2]
            answer = h11.Response(status_code=302, headers=[("location", where), ("content-length", "0")])
            writer.write(wire.send(answer) or b"")
        elif target.startswith("/big?"):
            writer.write(wire.send(h11.Response(status_code=200, headers=[])) or b"")
            for _ in range(int(target.partition("?")[2])):
                writer.write(wire.send(h11.Data(data=bytes(65536))) or b"")
                await writer.drain()
        elif target == "/endless":
            writer.write(wire.send(h11.Response(status_code=200, headers=[])) or b"")
            while True:
                writer.write(wire.send(h11.Data(data=b"still here\n")) or b"")
                await writer.drain()
                await asyncio.sleep(0.02)
        else:
            told = {
                "reached": True,
                "method": asked.method.decode(),
                "target": target,
                "headers": {name.decode(): value.decode() for name, value in asked.headers},
                "body": len(body),
            }
            writer.write(wire.send(h11.Response(status_code=200, headers=[])) or b"")
            writer.write(wire.send(h11.Data(data=json.dumps(told).encode() + b"\n")) or b"")
        writer.write(wire.send(h11.EndOfMessage()) or b"")
        await writer.drain()


def loopback() -> str:
    """An address of this machine that no other test uses."""
    numbers = random.SystemRandom()
    return f"127.{numbers.randint(1, 254)}.{numbers.randint(1, 254)}.{numbers.randint(2, 254)}"


@asynccontextmanager
async def upstream(address: str, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    made = Upstream(address, port)
    server = await asyncio.start_server(made.serve, address, port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        server.close()


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """Makes a certificate that signs itself; returns its file and a server's context."""
    key, pem = folder / "key.pem", folder / "cert.pem"
    alternatives = ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={alternatives}",
         "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return pem, context
