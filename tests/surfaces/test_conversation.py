"""Items as the conversation that a model goes on from."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid, LmSandboxError, NotHonoured
from lm_sandbox.models.chat import ChatMessage, ToolCall
from lm_sandbox.surfaces.openai.responses.conversation import INTERRUPTED, REFUSED, Conversation, read_items
from lm_sandbox.surfaces.openai.responses.input_items import ITEMS

USER = {"role": "user", "content": "go"}
DONE = {"stdout": "ok\n", "outcome": {"type": "exit", "exit_code": 0}}


def read(*items: dict[str, Any]) -> Conversation:
    return read_items(ITEMS.validate_python(list(items)), {"file-1": "data:image/png;base64,AA=="})


def shell(call_id: str, hosted: bool = True) -> dict[str, Any]:
    where = {"type": "container_reference", "container_id": "sb_1"} if hosted else {"type": "local"}
    action = {"commands": ["ls"]}
    return {"type": "shell_call", "call_id": call_id, "action": action, "environment": where}


def function(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


def asked(call_id: str) -> dict[str, Any]:
    return {
        "type": "mcp_approval_request",
        "id": call_id,
        "name": "bash",
        "arguments": '{"command": "rm x"}',
        "server_label": "shell",
    }


def answered(call_id: str, approve: bool, **more: str) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": call_id, "approve": approve, **more}


def test_what_one_turn_said_and_called_is_one_message() -> None:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]}
    found = read(
        USER,
        {"type": "reasoning", "summary": []},
        said,
        function("a"),
        function("b"),
        output("b"),
        output("a"),
    )
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    assert found.messages == (
        ChatMessage("user", "go"),
        ChatMessage("assistant", "Let me see.", calls),
        ChatMessage("tool", "done", tool_call_id="b"),
        ChatMessage("tool", "done", tool_call_id="a"),
    )


def test_each_command_of_the_loop_is_a_turn_of_its_own() -> None:
    outputs = [{"type": "shell_call_output", "call_id": call_id, "output": [DONE]} for call_id in "ab"]
    found = read(USER, shell("a"), outputs[0], shell("b"), outputs[1])
    assert [message.role for message in found.messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert found.messages[2].content == "ok"


def test_a_command_that_was_interrupted_has_an_output_that_says_so() -> None:
    found = read(USER, shell("a"), USER)
    assert found.messages[2] == ChatMessage("tool", INTERRUPTED, tool_call_id="a")
    assert read(USER, shell("a")).messages[-1].content == INTERRUPTED


def test_a_call_that_only_the_client_can_answer_is_not_passed_over() -> None:
    for call in (function("a"), shell("a", hosted=False)):
        with pytest.raises(Invalid, match="'a' has no output"):
            read(USER, call, USER)


def test_a_command_that_was_agreed_to_is_to_be_run_once() -> None:
    found = read(USER, asked("a"), answered("a", True))
    assert found.agreed == (ToolCall("a", "bash", '{"command": "rm x"}'),)
    ran = {"type": "shell_call_output", "call_id": "a", "output": [DONE]}
    later = read(USER, asked("a"), answered("a", True), shell("a"), ran, USER)
    assert later.agreed == ()
    assert [message.role for message in later.messages] == ["user", "assistant", "tool", "user"]


def test_a_command_that_was_refused_is_told_to_the_model_with_the_reason() -> None:
    found = read(USER, asked("a"), answered("a", False, reason="too risky"))
    assert found.agreed == ()
    assert found.messages[-1] == ChatMessage("tool", f"{REFUSED} too risky", tool_call_id="a")


def test_a_command_without_an_answer_is_refused() -> None:
    with pytest.raises(Invalid, match="'a' has no approval"):
        read(USER, asked("a"))


@pytest.mark.parametrize("again", [True, False])
def test_an_approval_is_given_once(again: bool) -> None:
    with pytest.raises(Invalid):
        read(USER, asked("a"), answered("a", True), answered("a", again))


def test_a_call_comes_once() -> None:
    with pytest.raises(Invalid, match="twice"):
        read(USER, function("a"), function("a"))


@pytest.mark.parametrize(
    "items",
    [
        (function("a"), USER, output("a")),
        (function("a"), function("c"), output("a"), function("b"), output("c"), output("b")),
        (asked("a"), USER, answered("a", True)),
        (asked("a"), answered("a", True), USER),
    ],
)
def test_nothing_comes_between_a_call_and_its_answer(items: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(Invalid, match="before what follows it"):
        read(USER, *items)


def test_pictures_come_with_the_message_that_shows_them() -> None:
    parts = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/jpeg;base64,BB=="},
        {"type": "input_image", "file_id": "file-1"},
    ]
    [message] = read({"role": "user", "content": parts}).messages
    assert tuple(image.url for image in message.images) == (
        "data:image/jpeg;base64,BB==",
        "data:image/png;base64,AA==",
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "https://example.com/x.png"},
        {"type": "input_image", "image_url": "data:text/html,x"},
        {"type": "input_image", "file_id": "file-2"},
        {"type": "input_image"},
        {"type": "input_file", "file_data": "x"},
        {"type": "input_audio"},
    ],
)
def test_what_no_model_is_shown_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(NotHonoured):
        read({"role": "user", "content": [part]})


ANY = st.sampled_from([USER, {"role": "assistant", "content": "x"}, shell("a"), shell("b", hosted=False), function("a"),
                       function("c"), output("a"), output("c"), asked("d"), answered("d", True), answered("d", False),
                       {"type": "shell_call_output", "call_id": "a", "output": [DONE]}, {"type": "web_search_call"}])  # fmt: skip


@settings(max_examples=2000)
@given(st.lists(ANY, max_size=12))
def test_every_call_that_a_model_is_shown_has_its_answer_behind_it(items: list[dict[str, Any]]) -> None:
    try:
        found = read(*items)
    except LmSandboxError:
        return
    open_calls: list[str] = []
    for message in found.messages:
        if message.role == "tool":
            assert message.tool_call_id in open_calls
            open_calls.remove(message.tool_call_id)
        else:
            assert not open_calls
            open_calls += [call.id for call in message.tool_calls]
    assert sorted(open_calls) == sorted(call.id for call in found.agreed)
