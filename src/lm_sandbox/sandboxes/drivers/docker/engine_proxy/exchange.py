"""One connection of a server: requests are read whole, judged, and made anew for the engine."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import anyio
import h11
import httpx
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.errors import DriverUnavailable, Forbidden, LmSandboxError, NotFound, SandboxFailed, TooLarge
from lm_sandbox.sandboxes.drivers.docker.engine import Engine
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.holdings import Holdings
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.rules import Permitted

LOG = logging.getLogger(__name__)
HEAD_BYTES = 16 * 1024
# A command of the longest text, each character of which may be written as six.
BODY_BYTES = 1024 * 1024
PIECE_BYTES = 64 * 1024
IDLE_S = 120.0
SHOWN_CHARACTERS = 200
STATUS: tuple[tuple[type[LmSandboxError], HTTPStatus], ...] = (
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (SandboxFailed, HTTPStatus.CONFLICT),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (DriverUnavailable, HTTPStatus.BAD_GATEWAY),
)
UNREACHABLE = "The engine does not answer."


@dataclass(frozen=True, slots=True)
class Way:
    """The way to an engine.

    Attributes:
        permit: Judges a method, a target and a body.
        holdings: Knows what belongs to the server.
        http: A client of the engine.
        engine: Attaches to programs.
    """

    permit: Callable[[str, str, bytes], Permitted]
    holdings: Holdings
    http: httpx.AsyncClient
    engine: Engine


class Exchange:
    """Serves one connection until it ends.

    Args:
        stream: The connection.
        way: Where permitted requests go.
    """

    def __init__(self, stream: ByteStream, way: Way) -> None:
        self._stream = stream
        self._way = way
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)

    async def serve(self) -> None:
        """Answers request after request; returns when the other side or the protocol has ended it."""
        try:
            while (request := await self._event()) is not None:
                if not isinstance(request, h11.Request):
                    return
                if not await self._answer(request) or self._http.our_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except (h11.LocalProtocolError, anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            LOG.debug("A connection broke off.")
        except h11.RemoteProtocolError:
            if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self._say(HTTPStatus.BAD_REQUEST, _message("That is no HTTP request."))

    async def _answer(self, request: h11.Request) -> bool:
        """Tells whether the connection can be used again."""
        if any(name == b"transfer-encoding" for name, _ in request.headers):
            # The driver never does it, and two ways to tell a length are one too many.
            raise h11.RemoteProtocolError("a body in chunks")
        method, target = request.method.decode(), request.target.decode()
        try:
            permitted = self._way.permit(method, target, await self._body())
            await self._way.holdings.require(permitted)
            if permitted.attaches:
                await self._attach(permitted)
                return False
            await self._pass(permitted)
        except LmSandboxError as error:
            status = next((code for kind, code in STATUS if isinstance(error, kind)), None)
            if status is None:
                raise
            LOG.warning("Refused %s %.*r: %s", method, SHOWN_CHARACTERS, target, error)
            await self._say(status, _message(str(error)))
            return status is not HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        except (httpx.HTTPError, ValueError):
            await self._say(HTTPStatus.BAD_GATEWAY, _message(UNREACHABLE))
        return True

    async def _pass(self, permitted: Permitted) -> None:
        answer = await self._way.http.request(
            permitted.method, permitted.path, params=dict(permitted.query), json=permitted.body
        )
        content = answer.content
        if permitted.told is not None and answer.is_success:
            told = {name: value for name, value in answer.json().items() if name in permitted.told}
            content = json.dumps(told).encode()
        await self._say(answer.status_code, content, answer.headers.get("content-type", "application/json"))

    async def _attach(self, permitted: Permitted) -> None:
        program, output = await self._way.engine.attach(permitted.id)
        async with program:
            switched = [("Upgrade", "tcp"), ("Connection", "Upgrade")]
            await self._send(h11.InformationalResponse(status_code=101, headers=switched))
            early, _ = self._http.trailing_data
            if early:
                await program.send(early)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_carry_input, self._stream, program)
                await _carry(output, self._stream)
                tasks.cancel_scope.cancel()

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > BODY_BYTES:
                raise TooLarge("The body is too large.")
        return bytes(body)

    async def _event(self) -> h11.Event | None:
        """Reads on; None at the end of the connection."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with anyio.fail_after(IDLE_S):
                try:
                    self._http.receive_data(await self._stream.receive(PIECE_BYTES))
                except anyio.EndOfStream:
                    self._http.receive_data(b"")
        return event if isinstance(event, h11.Request | h11.Data | h11.EndOfMessage) else None

    async def _say(self, status: int, body: bytes, kind: str = "application/json") -> None:
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            headers, body = [], b""
        await self._send(h11.Response(status_code=status, headers=headers))
        if body:
            await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send(data)


async def _carry_input(source: ByteStream, program: SocketStream) -> None:
    await _carry(source, program)
    try:
        await program.send_eof()
    except OSError:
        LOG.debug("A program took no end of its input.")


async def _carry(source: ByteReceiveStream | BufferedByteReceiveStream, sink: ByteSendStream) -> None:
    try:
        while True:
            await sink.send(await source.receive(PIECE_BYTES))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def _message(text: str) -> bytes:
    return json.dumps({"message": text}).encode()
