"""A tool that must be called is called, whatever the model would rather say; where not, the client is told."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest
from anyio.abc import SocketStream

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.models import EngineSettings, UpstreamSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from tests.conftest import KEY, NOWHERE, Server
from tests.models.upstream import Script, Upstream, events, reply, said, scripted

CHAT = "POST /v1/chat/completions"
LISTING = reply({"object": "list", "data": [{"id": "weak"}]})
TALK = "I would rather talk."
USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
HELLO: Any = [{"role": "user", "content": "hello"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"$ref": "#/$defs/days"}},
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {"days": {"enum": [1, 3]}},
}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": PARAMETERS},
}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
NAMED: Any = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture
def sdk(shared_server: Server) -> Iterator[openai.OpenAI]:
    url, key = f"{shared_server.url}/v1", shared_server.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def fits(arguments: str) -> bool:
    found = json.loads(arguments)
    return set(found) == {"city", "days"} and isinstance(found["city"], str) and found["days"] in {1, 3}


def test_a_chat_completion_calls_the_tool_that_is_named(sdk: openai.OpenAI) -> None:
    told = sdk.chat.completions.with_raw_response.create(
        model="nano", messages=HELLO, tools=[WEATHER, CLOCK], tool_choice=NAMED
    )
    assert told.parse().choices[0].finish_reason == "tool_calls"
    (call,) = told.http_response.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert fits(call["function"]["arguments"])
    assert "x-lm-sandbox-tool-choice" not in told.headers


def test_a_response_calls_the_clients_function(sdk: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS}
    made = sdk.responses.create(
        model="nano", input="hello", tools=[tool], tool_choice={"type": "function", "name": "weather"}
    )
    (call,) = made.output
    assert call.type == "function_call"
    assert fits(call.arguments)


def whole(text: str, finish: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return reply({"id": "c", "choices": [choice], "usage": USAGE})


def streamed(text: str, finish: str = "stop") -> bytes:
    return reply(events(said(text), said("", finish)) + b"data: [DONE]\n\n", kind="text/event-stream")


def in_turn(*answers: bytes) -> Script:
    """Gives one answer after the other, the last one for ever."""
    left = list(answers)

    async def script(stream: SocketStream) -> None:
        await stream.send(left.pop(0) if len(left) > 1 else left[0])

    return script


@asynccontextmanager
async def weak(tmp_path: Path, *answers: bytes) -> AsyncIterator[tuple[httpx.AsyncClient, Upstream]]:
    async with scripted({"GET /v1/models": LISTING, CHAT: in_turn(*answers)}) as upstream:
        settings = Settings(
            data_dir=tmp_path,
            api_key=KEY,
            upstream=UpstreamSettings(ollama_url=NOWHERE, lmstudio_url=NOWHERE),
            engines={"up": EngineSettings(base_url=upstream.url)},
        ).for_one_use()
        async with start_services(settings) as services, anyio.create_task_group() as tasks:
            app = create_app(settings)
            app.state.services = services
            transport, headers = StreamingASGITransport(app, tasks), {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://t", headers=headers, timeout=60
            ) as http:
                yield http, upstream
            tasks.cancel_scope.cancel()


def body(**more: object) -> dict[str, object]:
    return {"model": "weak", "messages": HELLO, "tools": [WEATHER, CLOCK], "tool_choice": "required", **more}


@pytest.mark.anyio
async def test_a_model_that_talks_is_asked_again_by_schemas_alone(tmp_path: Path) -> None:
    answers = whole(TALK), whole('{"name": "weather"}'), whole('{"city": "Rome", "days": 3}')
    async with weak(tmp_path, *answers) as (http, upstream):
        told = (await http.post("/v1/chat/completions", json=body(temperature=0.5))).json()
    message = told["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {
        "name": "weather", "arguments": '{"city": "Rome", "days": 3}',
    }  # fmt: skip
    assert message["content"] is None
    assert told["usage"] == {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    first, second, third = upstream.bodies(CHAT)
    assert isinstance(first, dict) and isinstance(second, dict) and isinstance(third, dict)  # noqa: PT018
    assert first["tools"] == [WEATHER, CLOCK]
    for again in (second, third):
        assert again["temperature"] == 0.5
        assert not {"tools", "tool_choice"} & again.keys()
        assert [message["role"] for message in again["messages"]] == ["user"]
    names = second["response_format"]["json_schema"]["schema"]["properties"]["name"]["enum"]
    assert names == ["weather", "clock"]
    assert third["response_format"]["json_schema"]["schema"] == PARAMETERS


@pytest.mark.anyio
async def test_what_is_asked_again_comes_to_an_end_whatever_the_schema_leaves_open(tmp_path: Path) -> None:
    answers = whole(TALK), whole('{"name": "clock"}'), whole("{}")
    for asked, given in (({}, 1024), ({"max_tokens": 50}, 50), ({"max_completion_tokens": 9000}, 1024)):
        async with weak(tmp_path, *answers) as (http, upstream):
            await http.post("/v1/chat/completions", json=body(**asked))
        first, which, how = upstream.bodies(CHAT)
        assert isinstance(first, dict) and isinstance(which, dict) and isinstance(how, dict)  # noqa: PT018
        assert first.items() >= asked.items()
        for question in (which, how):
            assert question["max_tokens"] == given
            assert "max_completion_tokens" not in question
        # A function without parameters takes none.
        assert how["response_format"]["json_schema"]["schema"]["additionalProperties"] is False


@pytest.mark.anyio
async def test_a_stream_is_a_call_where_the_model_only_talked(tmp_path: Path) -> None:
    answers = streamed(TALK), whole('{"name": "clock"}'), whole("{}")
    async with weak(tmp_path, *answers) as (http, _):
        answer = await http.post("/v1/chat/completions", json=body(stream=True))
    chunks = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    (call,) = [call for choice in choices for call in choice["delta"].get("tool_calls") or ()]
    assert call["function"] == {"name": "clock", "arguments": "{}"}
    assert not any(choice["delta"].get("content") for choice in choices)
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]


@pytest.mark.anyio
async def test_a_response_must_use_the_shell_in_its_first_turn(tmp_path: Path) -> None:
    answers = streamed(TALK), whole('{"command": "echo hi"}'), streamed("It says hi.")
    shell = {"tools": [{"type": "shell"}], "tool_choice": {"type": "shell"}}
    async with weak(tmp_path, *answers) as (http, _):
        made = (await http.post("/v1/responses", json={"model": "weak", "input": "hello", **shell})).json()
    call, output, message = made["output"]
    assert call["action"]["commands"] == ["echo hi"]
    assert output["output"][0]["stdout"] == "hi\n"
    assert message["content"][0]["text"] == "It says hi."


@pytest.mark.anyio
async def test_an_anthropic_message_uses_the_tool_that_is_wanted(tmp_path: Path) -> None:
    async with weak(tmp_path, streamed(TALK), whole('{"city": "Rome", "days": 3}')) as (http, _):
        told = (await http.post("/v1/messages", json=BODIES["/v1/messages"])).json()
    (block,) = told["content"]
    assert (block["type"], block["name"], block["input"]) == (
        "tool_use",
        "weather",
        {"city": "Rome", "days": 3},
    )
    assert told["stop_reason"] == "tool_use"


REFUSED = reply({"error": {"message": "response_format is not supported"}}, "400 Bad Request")
SPOKEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "/v1/chat/completions": lambda told: str(told["choices"][0]["message"]["content"]),
    "/v1/messages": lambda told: str(told["content"][0]["text"]),
    "/v1/responses": lambda told: str(told["output"][0]["content"][0]["text"]),
}
BODIES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": body(),
    "/v1/messages": {
        "model": "weak",
        "max_tokens": 9,
        "messages": HELLO,
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
        "tool_choice": {"type": "any"},
    },
    "/v1/responses": {
        "model": "weak",
        "input": "hello",
        "tools": [{"type": "function", "name": "weather", "parameters": PARAMETERS}],
        "tool_choice": "required",
    },
}


@pytest.mark.anyio
@pytest.mark.parametrize("again", [REFUSED, whole("no JSON"), whole("[1]")])
@pytest.mark.parametrize("path", SPOKEN)
async def test_a_client_is_told_where_nothing_makes_the_model_call(
    tmp_path: Path, path: str, again: bytes
) -> None:
    first = whole(TALK) if path == "/v1/chat/completions" else streamed(TALK)
    async with weak(tmp_path, first, again) as (http, upstream):
        answer = await http.post(path, json=BODIES[path])
        assert answer.status_code == 200
        assert len(upstream.bodies(CHAT)) == 2
    assert SPOKEN[path](answer.json()) == TALK
    assert answer.json()["tool_choice_honoured"] is False
    assert answer.headers["x-lm-sandbox-tool-choice"] == "not honoured"


@pytest.mark.anyio
async def test_an_answer_that_was_cut_is_not_asked_for_again(tmp_path: Path) -> None:
    async with weak(tmp_path, whole(TALK, "length")) as (http, upstream):
        told = (await http.post("/v1/chat/completions", json=body())).json()
        assert len(upstream.bodies(CHAT)) == 1
    assert told["tool_choice_honoured"] is False
    assert told["choices"][0]["message"]["content"] == TALK


@pytest.mark.anyio
async def test_a_stream_that_only_talks_ends_with_its_words_and_says_so(tmp_path: Path) -> None:
    async with weak(tmp_path, streamed(TALK), REFUSED) as (http, _):
        answer = await http.post("/v1/chat/completions", json=body(stream=True))
    chunks = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == TALK
    assert [chunk.get("tool_choice_honoured") for chunk in chunks] == [None, False]
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.anyio
async def test_an_obedient_stream_passes_byte_for_byte(tmp_path: Path) -> None:
    piece = {"index": 0, "id": "a", "function": {"name": "clock", "arguments": "{}"}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}], "x": 1}
    sent = events(said("Let me look. "), chunk, said("", "tool_calls")) + b"data: [DONE]\n\n"
    async with weak(tmp_path, reply(sent, kind="text/event-stream")) as (http, upstream):
        answer = await http.post("/v1/chat/completions", json=body(stream=True))
        assert len(upstream.bodies(CHAT)) == 1
    assert answer.content == sent


@pytest.mark.anyio
async def test_what_the_engine_refuses_is_the_answer(tmp_path: Path) -> None:
    for stream in (False, True):
        async with weak(tmp_path, reply({"error": {"message": "no such tool"}}, "400 Bad Request")) as (
            http,
            _,
        ):
            answer = await http.post("/v1/chat/completions", json=body(stream=stream))
        assert answer.status_code == 400
        assert "no such tool" in answer.json()["error"]["message"]
