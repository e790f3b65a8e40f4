"""`lm-sandbox mcp`: MCP on standard input and output, by the same `/mcp` that HTTP clients use.

Each line goes there as one message, and what comes back is written line by line; so a server that runs
here, one elsewhere and the app in this process are one code path.
"""

import contextlib
import json
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import BinaryIO

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
from anyio.abc import TaskGroup
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectSendStream

from lm_sandbox.cli.connection import connect, connect_to
from lm_sandbox.cli.mcp_wire import (
    PARSE_ERROR,
    JsonObject,
    answer_of,
    answers,
    cancelled_id,
    events,
    failed,
    headers_of,
    is_stateless,
    key_of,
)
from lm_sandbox.config.settings import Settings

PATH = "/mcp"
SESSION = "mcp-session-id"
PINNED = "lm-sandbox-name"
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
END_S = 5.0


async def serve_stdio(settings: Settings, url: str | None, sandbox: str | None) -> int:
    """Serves until standard input ends; returns the exit status.

    Args:
        settings: Where this machine's server and key are.
        url: A server elsewhere.
        sandbox: The name of the sandbox to work in; else there is one for as long as this runs.

    Raises:
        LmSandboxError: there is no server, and none can be made here.
    """
    connected: AbstractAsyncContextManager[httpx.AsyncClient]
    connected = connect(settings) if url is None else connect_to(url, settings)
    own = None if sandbox else f"mcp-{secrets.token_hex(6)}"
    # What others print here must not get between the messages.
    wire = sys.stdout.buffer
    with contextlib.redirect_stdout(sys.stderr):
        async with connected as client:
            relay = Relay(client, wire, sandbox or own or "")
            try:
                await relay.run(_lines())
            finally:
                with anyio.move_on_after(END_S, shield=True):
                    await relay.end()
                    if own is not None:
                        await _delete(client, own)
    return 0


class Relay:
    """Carries messages between a pipe and `/mcp`.

    Args:
        client: Reaches the server.
        wire: The pipe.
        sandbox: The name of the sandbox that everything works in.
    """

    def __init__(self, client: httpx.AsyncClient, wire: BinaryIO, sandbox: str) -> None:
        self._client = client
        self._wire = wire
        self._writing = anyio.Lock()
        self._headers = {**ACCEPT, PINNED: sandbox}
        self._posts: dict[str, anyio.CancelScope] = {}

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Carries until the lines end."""
        async with anyio.create_task_group() as tasks:
            async for line in lines:
                if line.strip():
                    await self._take(line, tasks)
            tasks.cancel_scope.cancel()

    async def end(self) -> None:
        """Ends the session, where the client has opened one."""
        if SESSION in self._headers:
            with suppress(httpx.HTTPError):
                await self._client.delete(PATH, headers=self._headers)

    async def _take(self, line: bytes, tasks: TaskGroup) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            await self._say(failed(None, "The line is not JSON.", PARSE_ERROR))
            return
        if not isinstance(message, dict):
            await self._carry({}, line)
            return
        scope = self._posts.get(cancelled_id(message) or "")
        if scope is not None:
            scope.cancel()
            return
        # A session is not there before its first answer, and notifications are not to be overtaken.
        at_once = message.get("id") is not None and message.get("method") != "initialize"
        if at_once:
            tasks.start_soon(self._carry, message, line)
        else:
            await self._carry(message, line)

    async def _carry(self, message: JsonObject, line: bytes) -> None:
        request_id = message.get("id")
        with anyio.CancelScope() as scope:
            if is_stateless(message) and request_id is not None:
                # There is no other way to cancel these than to close the connection.
                self._posts[key_of(request_id)] = scope
            try:
                await self._post(message, line)
            except httpx.HTTPError as error:
                if request_id is not None:
                    await self._say(failed(request_id, f"The server does not answer: {error}."))
            finally:
                self._posts.pop(key_of(request_id), None)

    async def _post(self, message: JsonObject, line: bytes) -> None:
        headers = self._headers | headers_of(message)
        request_id = message.get("id")
        async with self._client.stream("POST", PATH, content=line, headers=headers) as answer:
            if SESSION in answer.headers and message.get("method") == "initialize":
                self._headers[SESSION] = answer.headers[SESSION]
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                await self._stream(message, answer)
                return
            body = await answer.aread()
        if body and (request_id is not None or not answer.is_success):
            told = answer_of(body, answer.status_code, request_id)
            self._note_version(message, told)
            await self._say(told)

    async def _stream(self, message: JsonObject, answer: httpx.Response) -> None:
        answered = False
        async for data in events(answer):
            answered = answered or answers(data, message.get("id"))
            self._note_version(message, data)
            await self._say(data)
        if not answered:
            await self._say(failed(message.get("id"), "The server has broken off its answer."))

    def _note_version(self, message: JsonObject, data: bytes) -> None:
        if message.get("method") == "initialize":
            version = json.loads(data).get("result", {}).get("protocolVersion")
            if isinstance(version, str):
                self._headers["mcp-protocol-version"] = version

    async def _say(self, data: bytes) -> None:
        async with self._writing:
            await anyio.to_thread.run_sync(self._put, data)

    def _put(self, data: bytes) -> None:
        self._wire.write(data + b"\n")
        self._wire.flush()


async def _lines() -> AsyncIterator[bytes]:
    """Gives the lines of standard input, until it ends or this program is told to."""
    send, receive = anyio.create_memory_object_stream[bytes]()
    token = current_token()
    # A thread that can be left behind: nothing else reads a pipe, a file and a terminal alike.
    threading.Thread(target=_read, args=(send, token), daemon=True).start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_told, receive.close)
        with suppress(anyio.ClosedResourceError):
            async for line in receive:
                yield line
        tasks.cancel_scope.cancel()


def _read(send: MemoryObjectSendStream[bytes], token: EventLoopToken) -> None:
    # The program may end before its input does.
    with suppress(anyio.BrokenResourceError, RuntimeError, ValueError):
        for line in sys.stdin.buffer:
            anyio.from_thread.run(send.send, line, token=token)
        anyio.from_thread.run(send.aclose, token=token)


async def _until_told(stop: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop()
            return


async def _delete(client: httpx.AsyncClient, name: str) -> None:
    with suppress(httpx.HTTPError):
        found = (await client.get("/v1/sandboxes", params={"name": name})).json()
        for sandbox in found.get("data", []):
            await client.delete(f"/v1/sandboxes/{sandbox['id']}")
