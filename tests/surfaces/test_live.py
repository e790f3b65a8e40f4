"""Answers whose status waits for their first piece."""

import anyio
import pytest
from fastapi.responses import JSONResponse
from starlette.types import Message

from lm_sandbox.errors import EngineUnavailable
from lm_sandbox.surfaces.errors import Failure
from lm_sandbox.surfaces.live import LiveResponse, StreamWire
from lm_sandbox.surfaces.streams import Write

pytestmark = pytest.mark.anyio


def render(failure: Failure) -> JSONResponse:
    return JSONResponse({"failed": failure.code}, failure.status)


def last_words(failure: Failure) -> bytes:
    return f"failed: {failure.code}".encode()


class Connection:
    """The other end; it goes away when told."""

    def __init__(self) -> None:
        self.gone = anyio.Event()
        self.heard: list[Message] = []

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.heard.append(message)

    @property
    def status(self) -> int:
        return int(self.heard[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)

    async def ask(self, response: LiveResponse) -> None:
        await response({"type": "http"}, self.receive, self.send)


def live(produce: object, **more: object) -> LiveResponse:
    wire = StreamWire("text/plain", render, last_words, **more)  # type: ignore[arg-type]
    return LiveResponse(produce, wire)  # type: ignore[arg-type]


async def test_what_fails_before_the_first_piece_has_its_own_status() -> None:
    async def produce(_: Write) -> None:
        raise EngineUnavailable("not now")

    connection = Connection()
    await connection.ask(live(produce))
    assert (connection.status, connection.body) == (503, b'{"failed":"engine_unavailable"}')


async def test_what_fails_later_is_the_last_piece() -> None:
    async def produce(write: Write) -> None:
        await write(b"said ")
        raise EngineUnavailable("not now")

    connection = Connection()
    await connection.ask(live(produce))
    assert (connection.status, connection.body) == (200, b"said failed: engine_unavailable")
    assert connection.heard[-1]["more_body"] is False


async def test_an_answer_without_a_piece_is_empty() -> None:
    async def produce(_: Write) -> None:
        return

    connection = Connection()
    await connection.ask(live(produce))
    assert (connection.status, connection.body) == (200, b"")


async def test_a_client_that_goes_away_ends_its_maker() -> None:
    ended = anyio.Event()
    connection = Connection()

    async def produce(write: Write) -> None:
        await write(b"said")
        connection.gone.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.fail_after(5):
        await connection.ask(live(produce))
    assert ended.is_set()


async def test_silence_is_filled_with_heartbeats() -> None:
    async def produce(write: Write) -> None:
        while len(connection.heard) < 4:
            await anyio.sleep(0.01)
        await write(b"said")

    connection = Connection()
    with anyio.fail_after(5):
        await connection.ask(live(produce, heartbeat=b".", heartbeat_s=0.01))
    assert connection.status == 200
    assert connection.body.startswith(b"...")
    assert b"said" in connection.body
