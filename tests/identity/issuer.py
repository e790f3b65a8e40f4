"""A small OpenID Connect issuer that a test runs: real HTTP, real signatures, and faults on request.

It signs with another library than the one that checks.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any

import anyio
from anyio.abc import SocketStream
from joserfc import jwt
from joserfc.jwk import ECKey, KeyParameters, KeySet, OctKey, OKPKey, RSAKey

AUDIENCE = "lm-sandbox"
Key = RSAKey | ECKey | OKPKey


def new_key(algorithm: str = "ES256", key_id: str = "one") -> Key:
    """Makes a private key for signatures."""
    told: KeyParameters = {"kid": key_id, "use": "sig", "alg": algorithm}
    if algorithm.startswith(("RS", "PS")):
        return RSAKey.generate_key(2048, told)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", told)
    return ECKey.generate_key("P-256", told)


@dataclass
class TestIssuer:
    """The issuer.

    Attributes:
        url: Its address.
        keys: Those that it tells; the first signs.
        answers: What is told instead, by path: a status, or another document.
        asked: The paths that were asked for.
        silent: Whether connections are taken and not answered.
    """

    __test__ = False

    url: str = ""
    keys: list[Key] = field(default_factory=lambda: [new_key()])
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def claims(self, **changed: object) -> dict[str, Any]:
        now = int(time())
        whole = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "248289761001",
            "exp": now + 300,
            "iat": now,
            "jti": "id-1",
            "azp": "app",
            "preferred_username": "anna",
            "groups": ["developers"],
            **changed,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, key: Key | None = None, header: dict[str, Any] | None = None, **changed: object) -> str:
        """Signs a token; a claim that is None is left out."""
        key = key or self.keys[0]
        algorithm = str(key.get("alg"))
        whole = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **(header or {})}
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, self.claims(**changed), key, algorithms=[algorithm])

    def forget(self) -> None:
        self.asked.clear()

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            if self.silent:
                await anyio.sleep_forever()
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            path = head.split()[1].decode()
            self.asked.append(path)
            status, body = self._answer(path)
            location = f"Location: {body.decode()}\r\n" if 300 <= status < 400 else ""
            await stream.send(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{location}Connection: close\r\n\r\n".encode()
                + body
            )

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            keys: list[OctKey | RSAKey | ECKey | OKPKey] = [*self.keys]
            return 200, json.dumps(KeySet(keys).as_dict(private=False)).encode()
        return 404, b"{}"


@asynccontextmanager
async def running_issuer() -> AsyncIterator[TestIssuer]:
    """Runs an issuer on a port of its own."""
    issuer = TestIssuer()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    issuer.url = f"http://127.0.0.1:{port}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, issuer.serve)
        yield issuer
        tasks.cancel_scope.cancel()
