"""The official OpenAI client against a real server with the real model and real sandboxes."""

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.conftest import Server

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture
def sdk(shared_server: Server) -> Iterator[openai.OpenAI]:
    url, key = f"{shared_server.url}/v1", shared_server.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def test_chat_runs_the_loop_and_tells_what_the_kernel_said(sdk: openai.OpenAI) -> None:
    asked = sdk.chat.completions.create(model="nano+bash", messages=[{"role": "user", "content": PROMPT}])
    text = asked.choices[0].message.content or ""
    assert f"```bash\n{PROMPT}\n```\n```text\n{BOOT_ID}\n```" in text
    assert asked.choices[0].finish_reason == "stop"
    assert asked.usage is not None
    assert asked.usage.completion_tokens > 0


def test_a_conversation_keeps_its_sandbox_and_a_new_one_gets_another(sdk: openai.OpenAI) -> None:
    opening = "create an empty file called kept.txt"
    first = sdk.chat.completions.create(model="nano+bash", messages=[{"role": "user", "content": opening}])
    said = first.choices[0].message.content or ""
    again = sdk.chat.completions.create(
        model="nano+bash",
        messages=[
            {"role": "user", "content": opening},
            {"role": "assistant", "content": said},
            {"role": "user", "content": "ls"},
        ],
    )
    assert "kept.txt" in (again.choices[0].message.content or "").split("```text")[-1]
    other = sdk.chat.completions.create(model="nano+bash", messages=[{"role": "user", "content": "ls"}])
    assert "kept.txt" not in (other.choices[0].message.content or "")


def test_chat_streams_the_same_text(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="nano+bash",
        messages=[{"role": "user", "content": PROMPT}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert BOOT_ID in text
    assert chunks[-1].usage is not None


def test_a_run_of_a_chat_is_kept_like_a_response(sdk: openai.OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(
        model="nano+bash", messages=[{"role": "user", "content": PROMPT}]
    )
    kept = sdk.responses.retrieve(raw.headers["x-lm-sandbox-run"])
    assert kept.model == "nano+bash"
    assert [item.type for item in kept.output] == ["shell_call", "shell_call_output", "message"]
    again = sdk.chat.completions.with_raw_response.create(
        model="nano+bash", messages=[{"role": "user", "content": "hi"}], store=False
    )
    assert "x-lm-sandbox-run" not in again.headers


def test_a_model_without_a_shell_is_passed_through(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="nano", messages=[{"role": "user", "content": "hello"}], stream=True, temperature=0
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "nano" in text


def test_responses_run_the_hosted_shell(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model="nano", input=PROMPT, tools=[{"type": "shell"}])
    assert response.status == "completed"
    kinds = [item.type for item in response.output]
    assert kinds == ["shell_call", "shell_call_output", "message"]
    call, output = response.output[0], response.output[1]
    assert call.type == "shell_call"
    assert output.type == "shell_call_output"
    assert call.action.commands == [PROMPT]
    assert output.call_id == call.call_id
    assert output.output[0].stdout == BOOT_ID + "\n"
    assert response.output_text
    assert response.usage is not None
    assert response.usage.total_tokens > 0


def test_responses_stream_in_the_sdks_own_order(sdk: openai.OpenAI) -> None:
    events = list(sdk.responses.create(model="nano", input=PROMPT, tools=[{"type": "shell"}], stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    order = [re.sub("^response.", "", event.type) for event in events]
    assert order[:9] == [
        "created", "in_progress", "output_item.added", "shell_call_command.added", "shell_call_command.delta",
        "shell_call_command.done", "output_item.done", "output_item.added", "shell_call_output_content.delta",
    ]  # fmt: skip
    assert order[-1] == "completed"
    assert {"output_text.delta", "output_text.done", "content_part.added", "content_part.done"} <= set(order)


def test_a_sandbox_can_be_named_as_the_container(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(
        model="nano", input="create an empty file called z.txt", tools=[{"type": "shell"}]
    )
    call = first.output[0]
    assert call.type == "shell_call"
    assert call.environment is not None
    assert call.environment.type == "container_reference"
    again = sdk.responses.create(
        model="nano",
        input="ls",
        tools=[
            {
                "type": "shell",
                "environment": {
                    "type": "container_reference",
                    "container_id": call.environment.container_id,
                },
            }
        ],
    )
    output = again.output[1]
    assert output.type == "shell_call_output"
    assert output.output[0].stdout == "z.txt\n"


def test_a_wrong_key_is_the_sdks_authentication_error(shared_server: Server) -> None:
    url = f"{shared_server.url}/v1"
    with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


def test_models_are_listed(sdk: openai.OpenAI) -> None:
    assert "nano+bash" in [model.id for model in sdk.models.list()]
