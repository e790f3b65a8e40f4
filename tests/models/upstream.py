"""A scripted upstream: what it answers, byte for byte, is the test's own choice."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import h11
from anyio.abc import SocketStream

Script = Callable[[SocketStream], Awaitable[None]]


@dataclass
class Upstream:
    """What it answers by method and path, and what it was asked.

    Attributes:
        answers: Bytes, or what writes them itself.
        asked: Method, path, headers and body of each request.
    """

    answers: dict[str, "bytes | Script"]
    url: str = ""
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self, route: str) -> list[object]:
        return [json.loads(body) for asked, _, body in self.asked if asked == route]


@asynccontextmanager
async def scripted(answers: dict[str, "bytes | Script"]) -> AsyncIterator[Upstream]:
    """Serves it; an unknown path is a 404, every connection is for one request."""
    upstream = Upstream(answers)

    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                await _serve(upstream, stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    upstream.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield upstream
        tasks.cancel_scope.cancel()


async def _serve(upstream: Upstream, stream: SocketStream) -> None:
    wire = h11.Connection(h11.SERVER)
    body, route, headers = b"", "", {}
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await stream.receive())
        elif isinstance(event, h11.Request):
            route = f"{event.method.decode()} {event.target.decode()}"
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            break
    upstream.asked.append((route, headers, body))
    answer = upstream.answers.get(route, reply({"error": "not found"}, "404 Not Found"))
    if isinstance(answer, bytes):
        await stream.send(answer)
    else:
        await answer(stream)


def reply(body: object, status: str = "200 OK", kind: str = "application/json", missing: int = 0) -> bytes:
    """An answer that closes the connection; `missing` bytes are promised and not sent."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(data) + missing}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + data


def events(*chunks: object) -> bytes:
    """Server-sent events of OpenAI's chunks."""
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def said(text: str, finish: str | None = None) -> dict[str, object]:
    """A chunk of an answer."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def streamed(text: str = "hello") -> bytes:
    """A whole streamed answer."""
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    return reply(events(said(text), said("", "stop"), usage) + b"data: [DONE]\n\n", kind="text/event-stream")


async def silent(stream: SocketStream) -> None:
    """Says nothing for as long as the client waits."""
    await stream.receive()


def ollama(*names: str) -> dict[str, "bytes | Script"]:
    """Ollama's answers, in the shapes of its documented API."""
    tags = {
        "models": [
            {"name": name, "model": name, "size": 4_661_224_676, "digest": "d", "details": {}}
            for name in names
        ]
    }
    shown = {
        "details": {
            "format": "gguf",
            "family": "llama",
            "parameter_size": "8.0B",
            "quantization_level": "Q4_0",
        },
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        "capabilities": ["completion", "tools"],
    }
    steps = [
        {"status": "pulling manifest"},
        {"status": "pulling 6a0746a1ec1a", "digest": "sha256:6a", "total": 100, "completed": 40},
        {"status": "pulling 6a0746a1ec1a", "digest": "sha256:6a", "total": 100, "completed": 100},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    lines = b"".join(json.dumps(step).encode() + b"\n" for step in steps)
    return {
        "GET /api/tags": reply(tags),
        "GET /api/ps": reply({"models": []}),
        "POST /api/show": reply(shown),
        "POST /api/generate": reply({"model": "m", "response": "", "done": True, "done_reason": "load"}),
        "POST /api/pull": reply(lines, kind="application/x-ndjson"),
        "DELETE /api/delete": reply(b""),
        "POST /v1/chat/completions": streamed(),
    }
