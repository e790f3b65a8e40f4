"""A small server that speaks the Hugging Face hub's API for one repository, with ranges and faults."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import h11
from anyio.abc import SocketStream

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/small-GGUF"


@dataclass
class Hub:
    """What it serves and what it was asked.

    Attributes:
        files: By name.
        cut_after: Bytes of a file after which a connection is cut, once for each entry.
        wrong_sums: Files whose checksum is told wrongly.
        private: Whether a token is wanted.
        asked: Method, path and Range of each request.
    """

    files: Mapping[str, bytes]
    url: str = ""
    cut_after: list[int] = field(default_factory=list)
    wrong_sums: set[str] = field(default_factory=set)
    private: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def info(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {"sha256": self.sum(name), "size": len(data), "pointerSize": 134},
            }
            for name, data in self.files.items()
        ]
        return {
            "id": REPO,
            "modelId": REPO,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "tags": [],
        }

    def sum(self, name: str) -> str:
        return "0" * 64 if name in self.wrong_sums else hashlib.sha256(self.files[name]).hexdigest()


@asynccontextmanager
async def serving(hub: Hub) -> AsyncIterator[Hub]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    hub.url = f"http://127.0.0.1:{port}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, _Connection(hub).handle)
        yield hub
        tasks.cancel_scope.cancel()


class _Connection:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            wire = h11.Connection(h11.SERVER)
            try:
                while True:
                    event = wire.next_event()
                    if event is h11.NEED_DATA:
                        wire.receive_data(await stream.receive())
                    elif isinstance(event, h11.Request):
                        if not await self._answer(stream, wire, event):
                            return
                    elif isinstance(event, h11.EndOfMessage):
                        wire.start_next_cycle()
                    else:
                        return
            except (anyio.EndOfStream, anyio.BrokenResourceError, h11.RemoteProtocolError):
                return

    async def _answer(self, stream: SocketStream, wire: h11.Connection, request: h11.Request) -> bool:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        method, path = request.method.decode(), request.target.decode()
        self._hub.asked.append((method, path.partition("?")[0], headers.get("range", "")))
        self._hub.tokens.add(headers.get("authorization", ""))
        status, more, body = self._find(path, headers.get("range", ""), headers)
        cut = (
            self._hub.cut_after.pop(0)
            if method == "GET" and "/resolve/" in path and self._hub.cut_after
            else None
        )
        told = {"content-length": str(len(body)), **more}
        await stream.send(wire.send(h11.Response(status_code=status, headers=list(told.items()))) or b"")
        if method != "HEAD":
            await stream.send(wire.send(h11.Data(data=body[:cut])) or b"")
        if cut is not None and cut < len(body):
            return False
        await stream.send(wire.send(h11.EndOfMessage()) or b"")
        return True

    def _find(self, path: str, asked: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        import json

        hub = self._hub
        path = path.partition("?")[0]
        refused = {"x-error-code": "RepoNotFound", "x-error-message": "Repository not found"}
        if REPO not in path or (hub.private and headers.get("authorization") != "Bearer hf_good"):
            return 404 if not hub.private else 401, refused, b""
        if path.startswith("/api/models/"):
            return 200, {"content-type": "application/json"}, json.dumps(hub.info()).encode()
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if name not in hub.files:
            return 404, {"x-error-code": "EntryNotFound"}, b""
        data = hub.files[name]
        told = {
            "etag": f'"{hub.sum(name)}"',
            "x-repo-commit": COMMIT,
            "accept-ranges": "bytes",
            "content-type": "application/octet-stream",
        }
        if asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            return 206, {**told, "content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:]
        return 200, told, data
