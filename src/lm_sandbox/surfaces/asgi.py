"""An httpx transport that calls the app in this process and streams its answers.

`httpx.ASGITransport` waits for the whole answer; here every piece is handed on as it is sent, so
that the command line shows a run while it happens, with or without a server.
"""

from collections.abc import AsyncIterator

import anyio
import httpx
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message

BUFFERED_PIECES = 16


class StreamingASGITransport(httpx.AsyncBaseTransport):
    """Calls an ASGI app.

    Args:
        app: The app.
        tasks: Owns the task of each request.
    """

    def __init__(self, app: ASGIApp, tasks: TaskGroup) -> None:
        self._app = app
        self._tasks = tasks

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request; returns when the answer has started."""
        exchange = _Exchange(await request.aread())
        self._tasks.start_soon(exchange.run, self._app, _scope(request))
        try:
            await exchange.started.wait()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = False
        self._gone = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream[bytes](BUFFERED_PIECES)
        self.started = anyio.Event()
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []

    async def run(self, app: ASGIApp, scope: dict[str, object]) -> None:
        try:
            async with self._send:
                await app(scope, self.receive, self.send)
        except anyio.BrokenResourceError:
            return  # The client has stopped reading.
        finally:
            self.started.set()

    async def receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message["headers"])
            self.started.set()
        elif message.get("body"):
            await self._send.send(message["body"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._receive:
            yield piece

    async def aclose(self) -> None:
        self._gone.set()
        self._receive.close()


def _scope(request: httpx.Request) -> dict[str, object]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        "root_path": "",
    }
