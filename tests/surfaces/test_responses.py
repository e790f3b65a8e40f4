"""Responses that are kept, chained, approved, run in the background: by the official client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseFunctionShellToolCallOutput as ShellOutput

from tests.conftest import Server

SHELL: Any = [{"type": "shell"}]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def sdk(shared_server: Server) -> Iterator[openai.OpenAI]:
    url, key = f"{shared_server.url}/v1", shared_server.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def http(shared_server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {shared_server.key}"}
    with httpx.Client(base_url=shared_server.url, headers=headers, timeout=60) as client:
        yield client


def ended(sdk: openai.OpenAI, response_id: str) -> str | None:
    """Follows it to its end."""
    list(sdk.responses.retrieve(response_id, stream=True))
    return sdk.responses.retrieve(response_id).status


def stdout(response: openai.types.responses.Response) -> str:
    return "".join(
        part.stdout for item in response.output if isinstance(item, ShellOutput) for part in item.output
    )


def test_a_response_is_kept_and_can_be_read_again(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="nano", input="cat /etc/hostname", tools=SHELL, metadata={"a": "b"})
    assert sdk.responses.retrieve(made.id).to_dict() == made.to_dict()
    items = sdk.responses.input_items.list(made.id)
    [item] = items.data
    assert item.type == "message"
    assert item.content[0].text == "cat /etc/hostname"  # type: ignore[union-attr]


def test_what_is_not_to_be_stored_is_not(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="nano", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(made.id)


def test_a_deleted_response_is_gone(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="nano", input="hello")
    sdk.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(made.id)


def test_a_chain_goes_on_in_the_same_sandbox_with_what_was_said(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="nano", input="create an empty file called chained.txt", tools=SHELL)
    again = sdk.responses.create(model="nano", input="ls", tools=SHELL, previous_response_id=first.id)
    assert stdout(again) == "chained.txt\n"
    assert again.previous_response_id == first.id
    assert again.usage is not None
    assert first.usage is not None
    assert again.usage.input_tokens > first.usage.input_tokens


def test_a_chain_from_a_response_that_is_not_there_is_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="resp_no"):
        sdk.responses.create(model="nano", input="ls", previous_response_id="resp_no")


def test_a_response_in_the_background_is_asked_for_until_it_has_ended(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(
        model="nano", input="cat /proc/sys/kernel/random/boot_id", tools=SHELL, background=True
    )
    assert made.status == "queued"
    assert ended(sdk, made.id) == "completed"
    assert stdout(sdk.responses.retrieve(made.id)) == BOOT_ID + "\n"


def test_a_background_stream_that_broke_off_is_taken_up_where_it_was(sdk: openai.OpenAI) -> None:
    stream = sdk.responses.create(
        model="nano", input="cat /proc/sys/kernel/random/boot_id", tools=SHELL, background=True, stream=True
    )
    first = [next(stream) for _ in range(3)]
    assert [event.type for event in first] == [
        "response.created", "response.queued", "response.in_progress",
    ]  # fmt: skip
    stream.close()
    response_id = first[0].response.id  # type: ignore[union-attr]
    rest = list(sdk.responses.retrieve(response_id, stream=True, starting_after=2))
    assert [event.sequence_number for event in rest] == list(range(3, 3 + len(rest)))
    assert rest[-1].type == "response.completed"
    assert stdout(rest[-1].response) == BOOT_ID + "\n"
    again = list(sdk.responses.retrieve(response_id, stream=True, starting_after=2))
    assert [event.to_dict() for event in again] == [event.to_dict() for event in rest]


def test_a_background_response_is_cancelled_and_its_command_ends(
    sdk: openai.OpenAI, http: httpx.Client
) -> None:
    box = http.post("/v1/sandboxes", json={}).json()["id"]
    # A pipe into which nobody writes.
    http.post(f"/v1/sandboxes/{box}/commands", json={"command": "mkfifo notes.txt"})
    tools: Any = [{"type": "shell", "environment": {"type": "container_reference", "container_id": box}}]
    stream = sdk.responses.create(
        model="nano", input="cat notes.txt", tools=tools, background=True, stream=True
    )
    response_id = ""
    with stream:
        for event in stream:
            if event.type == "response.created":
                response_id = event.response.id
            if event.type == "response.output_item.added" and event.item.type == "shell_call_output":
                break
    assert sdk.responses.cancel(response_id).status == "cancelled"
    assert sdk.responses.cancel(response_id).status == "cancelled"
    told = http.post(f"/v1/sandboxes/{box}/commands", json={"command": "pgrep -x cat"}).json()
    assert told["stdout"] == ""


def test_only_what_is_in_the_background_is_cancelled(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="nano", input="hello")
    with pytest.raises(openai.ConflictError):
        sdk.responses.cancel(made.id)


def test_a_command_waits_for_approval_and_runs_when_it_is_given(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "shell", "require_approval": "always"}]
    asked = sdk.responses.create(model="nano", input="create an empty file called yes.txt", tools=tools)
    [request] = [item for item in asked.output if item.type == "mcp_approval_request"]
    assert json.loads(request.arguments) == {"command": "touch yes.txt"}
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
    done = sdk.responses.create(model="nano", input=[answer], tools=tools, previous_response_id=asked.id)
    assert [item.type for item in done.output] == ["shell_call", "shell_call_output", "message"]
    listed = sdk.responses.create(model="nano", input="ls", tools=SHELL, previous_response_id=done.id)
    assert stdout(listed) == "yes.txt\n"


def test_a_command_that_is_not_allowed_is_not_run(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "shell", "require_approval": "always"}]
    asked = sdk.responses.create(model="nano", input="create an empty file called no.txt", tools=tools)
    [request] = [item for item in asked.output if item.type == "mcp_approval_request"]
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": False}
    done = sdk.responses.create(model="nano", input=[answer], tools=tools, previous_response_id=asked.id)
    assert "shell_call" not in [item.type for item in done.output]
    listed = sdk.responses.create(model="nano", input="ls", tools=SHELL, previous_response_id=done.id)
    assert stdout(listed) == ""


def test_an_approval_of_what_was_not_asked_for_is_refused(sdk: openai.OpenAI) -> None:
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": "call_x", "approve": True}
    with pytest.raises(openai.UnprocessableEntityError, match="was not asked for"):
        sdk.responses.create(model="nano", input=[answer], tools=SHELL)


def test_with_a_local_shell_the_client_runs_the_command(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "shell", "environment": {"type": "local"}}]
    asked = sdk.responses.create(model="nano", input="whoami", tools=tools)
    [call] = asked.output
    assert call.type == "shell_call"
    assert call.environment is not None
    assert call.environment.type == "local"
    assert call.action.commands == ["whoami"]
    output: Any = {
        "type": "shell_call_output",
        "call_id": call.call_id,
        "output": [{"stdout": "zanzibar\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    }
    done = sdk.responses.create(model="nano", input=[output], tools=tools, previous_response_id=asked.id)
    assert "zanzibar" in done.output_text


def test_a_call_without_its_output_is_refused(sdk: openai.OpenAI) -> None:
    call: Any = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    with pytest.raises(openai.UnprocessableEntityError, match="'c1' has no output"):
        sdk.responses.create(model="nano", input=[call])


@pytest.mark.parametrize(
    "field",
    [
        {"prompt": {"id": "p"}},
        {"top_logprobs": 3},
        {"background": True, "store": False},
        {"text": {"format": {"type": "grammar"}}},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/"}]}]},
        {
            "tools": [
                {
                    "type": "shell",
                    "environment": {
                        "type": "container_auto",
                        "skills": [{"type": "skill_reference", "skill_id": "s"}],
                    },
                }
            ]
        },
    ],
    ids=str,
)
def test_what_would_change_the_answer_and_is_not_honoured_is_named(
    field: dict[str, object], http: httpx.Client
) -> None:
    answer = http.post("/v1/responses", json={"model": "nano", "input": "hi", **field})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_parameter"
    assert answer.json()["error"]["param"]


def test_what_agents_send_and_nothing_here_does_is_left_out_and_named(http: httpx.Client) -> None:
    body = {
        "model": "nano",
        "input": [
            {"role": "user", "content": "hello"},
            {"type": "web_search_call", "id": "ws", "status": "x"},
        ],
        "tools": [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": []}],
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_retention": "24h",
    }
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-lm-sandbox-tools-left-out"] == "namespace, web_search, web_search_call"
    assert answer.headers["x-lm-sandbox-fields-left-out"] == "include, prompt_cache_retention"


def test_a_tool_choice_of_a_tool_that_is_not_there_is_refused(http: httpx.Client) -> None:
    choice = {"type": "function", "name": "gone"}
    answer = http.post("/v1/responses", json={"model": "nano", "input": "hi", "tool_choice": choice})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "tool_choice"


def test_tool_choice_none_gives_the_model_no_shell(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="nano", input="ls", tools=SHELL, tool_choice="none")
    assert [item.type for item in made.output] == ["message"]


def test_secrets_of_a_policy_never_come_back(http: httpx.Client) -> None:
    secret = {"domain": "a.test", "name": "T", "value": "s3cr3t"}
    policy = {"type": "allowlist", "allowed_domains": ["a.test"], "domain_secrets": [secret]}
    shell = {"type": "shell", "environment": {"type": "container_auto", "network_policy": policy}}
    answer = http.post("/v1/responses", json={"model": "nano", "input": "hello", "tools": [shell]})
    assert "s3cr3t" not in answer.text


def test_responses_are_listed_newest_first(http: httpx.Client) -> None:
    made = [http.post("/v1/responses", json={"model": "nano", "input": "hi"}).json()["id"] for _ in range(3)]
    first = http.get("/v1/responses", params={"limit": 2}).json()
    assert [response["id"] for response in first["data"]] == made[:0:-1]
    rest = http.get("/v1/responses", params={"limit": 2, "after": first["last_id"]}).json()
    assert made[0] in [response["id"] for response in rest["data"]]
