"""What goes straight to an engine, by the official client: the embedded llama.cpp, and a scripted upstream."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.models import EngineSettings, UpstreamSettings
from lm_sandbox.config.settings import Settings
from tests.conftest import KEY, NOWHERE, serving
from tests.models.upstream import Upstream, events, reply, said, scripted

NANO = Path(__file__).parents[2] / "src/lm_sandbox/models/bundled/nano.gguf"
CHAT = "POST /v1/chat/completions"
LISTING = reply({"object": "list", "data": [{"id": "qwen"}]})
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
def sdk(command_env: dict[str, str]) -> Iterator[openai.OpenAI]:
    models = Path(command_env["LM_SANDBOX_DATA_DIR"]) / "models"
    models.mkdir(parents=True)
    for name in ("embed", "short"):
        (models / f"{name}.gguf").symlink_to(NANO)
    own = {"embed": {"purpose": "embedding"}, "short": {"context_tokens": 64, "parallel": 1}}
    env = command_env | {"LM_SANDBOX_LLAMACPP__MODELS": json.dumps(own)}
    with serving(env) as (_, server):
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
            yield client


def test_embeddings_are_vectors_of_which_like_texts_have_like_ones(sdk: openai.OpenAI) -> None:
    vectors = [
        row.embedding for row in sdk.embeddings.create(model="embed", input=["list it", "list it"]).data
    ]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-4)
    assert len(vectors[0]) == 192


def test_a_model_that_only_chats_says_so_when_asked_for_vectors(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="embeddings") as refusal:
        sdk.embeddings.create(model="nano", input="x")
    assert refusal.value.status_code in {400, 501}


def test_a_text_is_gone_on_with_and_streamed(sdk: openai.OpenAI) -> None:
    prompt = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    whole = sdk.completions.create(model="nano", prompt=prompt, max_tokens=40, temperature=0)
    pieces = sdk.completions.create(model="nano", prompt=prompt, max_tokens=40, temperature=0, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text != ""


@pytest.mark.parametrize("route", ["completions", "embeddings", "rerank"])
def test_a_model_with_a_shell_is_refused_where_no_shell_can_be_used(sdk: openai.OpenAI, route: str) -> None:
    body = {"model": "nano+bash", "prompt": "x", "input": "x", "query": "x", "documents": ["x"]}
    with pytest.raises(openai.BadRequestError, match=r"\+bash"):
        sdk.post(f"/{route}", body=body, cast_to=object)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.png", "file:///etc/passwd", "//h/x", "ftp://h/x"])
def test_no_engine_is_made_to_fetch_a_picture(sdk: openai.OpenAI, url: str) -> None:
    content: Any = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError, match="data: URL"):
        sdk.chat.completions.create(model="nano", messages=[{"role": "user", "content": content}])


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(sdk: openai.OpenAI) -> None:
    words = "qzxj " * 3000
    for ask in (
        lambda: sdk.chat.completions.create(model="short", messages=[{"role": "user", "content": words}]),
        lambda: sdk.chat.completions.create(
            model="short+bash", messages=[{"role": "user", "content": words}]
        ),
        lambda: sdk.responses.create(model="short", input=words),
    ):
        with pytest.raises(openai.BadRequestError, match=r"\d{3,} tokens.*\d{2,}"):
            ask()


class Responses:
    """/v1/responses of an app that knows one more engine."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def create(self, **body: object) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = await self._http.post("http://t/v1/responses", json=body, headers=headers)
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def client_of(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Responses]:
    settings = Settings(
        data_dir=tmp_path,
        api_key=KEY,
        upstream=UpstreamSettings(ollama_url=NOWHERE, lmstudio_url=NOWHERE),
        engines={"up": EngineSettings(base_url=upstream.url)},
    ).for_one_use()
    async with start_services(settings) as services:
        app = create_app(settings)
        app.state.services = services
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport) as http:
            yield Responses(http)


def called(*calls: tuple[str, str, str]) -> bytes:
    pieces = [
        {"index": i, "id": call_id, "function": {"name": name, "arguments": arguments}}
        for i, (call_id, name, arguments) in enumerate(calls)
    ]
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": pieces}, "finish_reason": "tool_calls"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    return reply(events(chunk, usage) + b"data: [DONE]\n\n", kind="text/event-stream")


@pytest.mark.anyio
async def test_a_clients_own_function_and_the_shell_work_in_the_same_response(tmp_path: Path) -> None:
    first = called(("a", "bash", '{"command": "echo $((6 * 7))"}'), ("b", "weather", '{"city": "Rome"}'))
    async with scripted({"GET /v1/models": LISTING, CHAT: first}) as upstream:
        async with client_of(upstream, tmp_path) as sdk:
            tools = [{"type": "shell"}, WEATHER]
            made = await sdk.create(model="qwen", input="go", tools=tools, tool_choice="required")
            assert [item["type"] for item in made["output"]] == [
                "shell_call", "shell_call_output", "function_call",
            ]  # fmt: skip
            assert made["status"] == "completed"
            call = made["output"][-1]
            assert (call["call_id"], call["name"], json.loads(call["arguments"])) == (
                "b", "weather", {"city": "Rome"},
            )  # fmt: skip
            upstream.answers[CHAT] = reply(
                events(said("It is 42 and sunny."), said("", "stop")), kind="text/event-stream"
            )
            output = {"type": "function_call_output", "call_id": "b", "output": "sunny"}
            done = await sdk.create(
                model="qwen", input=[output], tools=tools, previous_response_id=made["id"]
            )
            assert done["output"][0]["content"][0]["text"] == "It is 42 and sunny."
    asked: list[Any] = upstream.bodies(CHAT)
    assert asked[0]["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in asked[0]["tools"]] == ["bash", "weather"]
    roles = [(message["role"], message["content"]) for message in asked[1]["messages"]]
    assert roles == [("user", "go"), ("assistant", ""), ("tool", "42"), ("assistant", ""), ("tool", "sunny")]


@pytest.mark.anyio
async def test_what_shapes_an_answer_reaches_the_model(tmp_path: Path) -> None:
    answer = reply(events(said("{}"), said("", "stop")), kind="text/event-stream")
    async with scripted({"GET /v1/models": LISTING, CHAT: answer}) as upstream:
        async with client_of(upstream, tmp_path) as sdk:
            schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}
            await sdk.create(
                model="qwen",
                instructions="Be short.",
                input=[
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "what is it?"},
                            {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                        ],
                    }
                ],
                text={"format": schema},
                reasoning={"effort": "low"},
                temperature=0.5,
                max_output_tokens=9,
            )
    asked: Any = upstream.bodies(CHAT)[0]
    assert asked["messages"][0] == {"role": "system", "content": "Be short."}
    assert asked["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA=="
    assert asked["response_format"]["json_schema"] == {
        "name": "s", "schema": {"type": "object"}, "strict": True,
    }  # fmt: skip
    assert (asked["reasoning_effort"], asked["temperature"], asked["max_tokens"]) == ("low", 0.5, 9)
