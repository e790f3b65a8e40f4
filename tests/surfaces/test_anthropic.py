"""The official Anthropic client against a real server with the real model and real sandboxes."""

import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import pytest
from anthropic.types import ToolParam

from tests.conftest import Server, command_environment, serving

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"
# The client has no parameter for it any more.
STEADY = {"temperature": 0}
HELLO = {"role": "user", "content": "hello"}
BASH: ToolParam = {
    "name": "bash",
    "description": "Run a command with bash.",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(command_environment(tmp_path_factory.mktemp("anthropic"))) as (_, server):
        yield server


@pytest.fixture
def client(shared: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=shared.url, api_key=shared.key, max_retries=0) as opened:
        yield opened


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_is_answered(client: anthropic.Anthropic) -> None:
    told = client.messages.create(
        model="nano", max_tokens=100, messages=[{"role": "user", "content": "hello"}], system="Be kind."
    )
    assert "nano" in text_of(told)
    assert (told.type, told.role, told.model, told.stop_reason) == (
        "message",
        "assistant",
        "nano",
        "end_turn",
    )
    assert told.id.startswith("msg_")
    assert told.usage.input_tokens > 0
    assert told.usage.output_tokens > 0


def test_a_message_is_streamed_in_the_order_of_events(client: anthropic.Anthropic) -> None:
    stream = client.messages.create(
        model="nano", max_tokens=100, messages=[{"role": "user", "content": "hello"}], stream=True
    )
    events = list(stream)
    kinds = [event.type for event in events]
    deltas = kinds.count("content_block_delta")
    assert deltas > 3
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    first, last = events[0], events[-2]
    assert first.type == "message_start"
    assert last.type == "message_delta"
    assert first.message.content == []
    assert first.message.usage.input_tokens > 0
    assert (first.message.usage.output_tokens, last.delta.stop_reason) == (0, "end_turn")
    assert last.usage.output_tokens > 3


def test_the_client_puts_a_stream_together(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="nano", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text_of(final) == text
    assert "nano" in text


def test_the_model_calls_a_tool_and_goes_on_from_its_result(client: anthropic.Anthropic) -> None:
    opening: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Which linux is this?"}]
    with client.messages.stream(model="nano", max_tokens=200, messages=opening, tools=[BASH]) as stream:
        kinds = [event.type for event in stream]
        told = stream.get_final_message()
    assert told.stop_reason == "tool_use"
    assert "input_json" in kinds
    [call] = [block for block in told.content if block.type == "tool_use"]
    assert (call.name, "os-release" in str(call.input)) == ("bash", True)
    whole = client.messages.create(
        model="nano", max_tokens=200, messages=opening, tools=[BASH], extra_body=STEADY
    )
    assert [block.input for block in whole.content if block.type == "tool_use"] == [call.input]
    answer = client.messages.create(
        model="nano",
        max_tokens=200,
        tools=[BASH],
        messages=[
            *opening,
            {"role": "assistant", "content": told.content},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": call.id,
                        "content": [{"type": "text", "text": "Plan 9 from User Space"}],
                    }
                ],
            },
        ],
    )
    assert "Plan 9" in text_of(answer)
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "bash"}])
def test_a_tool_can_be_wanted(client: anthropic.Anthropic, choice: anthropic.types.ToolChoiceParam) -> None:
    other: ToolParam = {"name": "other", "input_schema": {"type": "object"}}
    told = client.messages.create(
        model="nano",
        max_tokens=200,
        messages=[{"role": "user", "content": "Which linux is this?"}],
        tools=[BASH, other],
        tool_choice=choice,
    )
    assert told.stop_reason == "tool_use"


def test_tools_that_anthropic_defines_are_offered_or_named(shared: Server) -> None:
    body = {
        "model": "nano",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Which linux is this?"}],
        "tools": [
            {"type": "bash_20250124", "name": "bash"},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "context_management": {"edits": []},
        "service_tier": "auto",
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "me"},
    }
    headers = {"x-api-key": shared.key, "anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2"}
    told = httpx.post(f"{shared.url}/v1/messages?beta=true", json=body, headers=headers, timeout=60)
    assert told.status_code == 200
    assert told.json()["content"][-1]["name"] == "bash"
    assert told.headers["x-lm-sandbox-left-out"] == (
        "context_management, tools.web_search_20250305, anthropic-beta: a-1, anthropic-beta: b-2"
    )
    assert told.headers["request-id"].startswith("req_")


def test_a_stop_sequence_ends_the_answer_and_is_named(client: anthropic.Anthropic) -> None:
    asked: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello"}]
    full = text_of(client.messages.create(model="nano", max_tokens=100, messages=asked, extra_body=STEADY))
    for stop in ("nano", full[3:9]):
        told = client.messages.create(
            model="nano",
            max_tokens=100,
            messages=asked,
            extra_body=STEADY,
            stop_sequences=["never said", stop],
        )
        assert (told.stop_reason, told.stop_sequence) == ("stop_sequence", stop)
        assert text_of(told) == full.partition(stop)[0]
        assert told.usage.output_tokens > 0
    with client.messages.stream(
        model="nano", max_tokens=100, messages=asked, extra_body=STEADY, stop_sequences=["nano"]
    ) as stream:
        assert stream.get_final_message().stop_sequence == "nano"


def test_an_answer_ends_at_max_tokens(client: anthropic.Anthropic) -> None:
    told = client.messages.create(model="nano", max_tokens=2, messages=[{"role": "user", "content": "hello"}])
    assert (told.stop_reason, told.usage.output_tokens) == ("max_tokens", 2)


def test_a_model_with_a_shell_runs_the_loop(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="nano+bash", max_tokens=500, messages=[{"role": "user", "content": PROMPT}]
    ) as stream:
        told = stream.get_final_message()
    assert f"```bash\n{PROMPT}\n```\n```text\n{BOOT_ID}\n```" in text_of(told)
    assert told.stop_reason == "end_turn"


def test_tokens_are_counted_by_the_models_own_tokenizer(client: anthropic.Anthropic) -> None:
    asked: list[anthropic.types.MessageParam] = [
        {"role": "user", "content": "hello, what is in this folder?"}
    ]
    for tools in ([], [BASH]):
        counted = client.messages.count_tokens(model="nano", messages=asked, tools=tools)
        told = client.messages.create(model="nano", max_tokens=1, messages=asked, tools=tools)
        assert counted.input_tokens == told.usage.input_tokens
    assert client.messages.count_tokens(model="nano+bash", messages=asked).input_tokens > 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"temperature": 9}, "temperature"),
        ({"tools": [{"name": "x"}]}, "input_schema"),
        ({"tools": [BASH], "tool_choice": {"type": "tool", "name": "missing"}}, "missing"),
        ({"output_config": {"format": {"type": "xml"}}}, "json_schema"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/"}}]}]}, "Base64"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]}]}, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": "x"}}]}]}, "text"),
        ({"model": "nano+bash", "tools": [BASH]}, "tools"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(
    shared: Server, more: dict[str, object], words: str
) -> None:
    for stream in (True, False):
        body = {"model": "nano", "max_tokens": 9, "messages": [HELLO], "stream": stream, **more}
        told = httpx.post(
            f"{shared.url}/v1/messages", json=body, headers={"x-api-key": shared.key}, timeout=60
        )
        assert told.status_code == 400
        error = told.json()
        assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
        assert words in error["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(shared: Server, stream: bool) -> None:
    # The model's template forgets old questions, but no answers.
    messages = [HELLO, {"role": "assistant", "content": "hello " * 9000}, HELLO]
    body = {"model": "nano", "max_tokens": 9, "messages": messages, "stream": stream}
    told = httpx.post(f"{shared.url}/v1/messages", json=body, headers={"x-api-key": shared.key}, timeout=60)
    assert told.status_code == 400
    message = told.json()["error"]["message"]
    assert "prompt is too long: " in message
    assert " tokens > 4096 maximum" in message


def test_unknown_models_and_wrong_keys_have_anthropics_shape(
    client: anthropic.Anthropic, shared: Server
) -> None:
    with pytest.raises(anthropic.NotFoundError, match="no-such") as missing:
        client.messages.create(model="no-such", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert missing.value.request_id is not None
    with anthropic.Anthropic(base_url=shared.url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
            stranger.messages.create(model="nano", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    with anthropic.Anthropic(base_url=shared.url, auth_token=shared.key, max_retries=0) as bearer:
        assert bearer.messages.count_tokens(model="nano", messages=[{"role": "user", "content": "x"}])


def test_models_are_listed_for_this_client_too(client: anthropic.Anthropic) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {"nano", "nano+bash"}
    assert listed["nano"].display_name == "nano"
    assert client.models.retrieve("nano").type == "model"


def test_the_form_of_the_answer_is_held(client: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "maximum": 9, "minimum": 0}},
        "required": ["count"],
        "additionalProperties": False,
    }
    told = client.messages.create(
        model="nano",
        max_tokens=100,
        messages=[{"role": "user", "content": "how many?"}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert isinstance(json.loads(text_of(told))["count"], int)


@pytest.mark.anyio
async def test_the_asynchronous_client_streams_too(shared: Server) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=shared.url, api_key=shared.key, max_retries=0) as client,
        client.messages.stream(
            model="nano", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
        ) as stream,
    ):
        assert "nano" in "".join([text async for text in stream.text_stream])
