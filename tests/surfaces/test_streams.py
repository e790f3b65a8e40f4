"""Server-sent events as they are written."""

import json

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.surfaces import streams
from lm_sandbox.surfaces.streams import EventStream, Write, json_line, sse


@given(st.text())
def test_json_is_one_line_for_everyone_and_says_the_same(text: str) -> None:
    written = json_line({"text": text})
    assert written.splitlines() == [written]
    assert json.loads(written) == {"text": text}


@pytest.mark.anyio
async def test_a_silent_stream_says_that_it_lives_and_never_within_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "BEAT_S", 0.01)
    sent: list[bytes] = []
    twice = anyio.Event()

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        sent.append(body)
        if sent.count(streams.BEAT) == 2:
            twice.set()

    async def receive() -> dict[str, object]:
        await anyio.sleep_forever()
        return {}

    async def produce(write: Write) -> None:
        await write(sse({"n": 1}))
        await twice.wait()
        await write(sse({"n": 2}))

    await EventStream(produce)({}, receive, send)  # type: ignore[arg-type]
    told = [piece for piece in sent if piece]
    assert told[0] == b'data: {"n": 1}\n\n'
    assert told[-1] == b'data: {"n": 2}\n\n'
    assert set(told[1:-1]) == {streams.BEAT}


@pytest.mark.anyio
async def test_an_event_in_pieces_is_never_broken_by_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BEAT_S", 0.01)
    sent: list[bytes] = []
    lives = anyio.Event()

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        sent.append(body)
        if body == streams.BEAT:
            lives.set()

    async def receive() -> dict[str, object]:
        await anyio.sleep_forever()
        return {}

    async def produce(write: Write) -> None:
        await write(b"data: half")
        await anyio.sleep(0.05)  # Longer than silence may last.
        await write(b" and half\n\n")
        await lives.wait()

    await EventStream(produce)({}, receive, send)  # type: ignore[arg-type]
    assert [piece for piece in sent if piece][:3] == [b"data: half", b" and half\n\n", streams.BEAT]
