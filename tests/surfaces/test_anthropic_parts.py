"""What the Anthropic surface makes of requests and answers, without a model."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.models.chat import ChatDelta, ChatMessage, Image, ToolCall, ToolCallPiece, Usage
from lm_sandbox.models.chat_wire import written
from lm_sandbox.surfaces.anthropic.stops import StopScanner
from lm_sandbox.surfaces.anthropic.translate import conversation, request
from lm_sandbox.surfaces.anthropic.wire import Conversation, MessagesIn
from lm_sandbox.surfaces.anthropic.writer import SIGNATURE, MessageWriter

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
FEW = st.text("ab", max_size=6)


def ask(*messages: object, **more: object) -> list[ChatMessage]:
    body = Conversation.model_validate({"model": "m", "messages": messages, **more})
    return list(conversation(body).prompt.messages)


def user(*content: object) -> dict[str, object]:
    return {"role": "user", "content": list(content)}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


@given(st.lists(FEW, max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_stop_sequence_is_found_however_the_text_is_cut(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    places = [(whole.find(stop), stop) for stop in stops if stop in whole]
    # An end that comes first decides, as an engine would stop there.
    scanner, shown, found = StopScanner(stops), "", None
    for piece in pieces:
        scanned = scanner.feed(piece)
        shown += scanned.text
        found = scanned.stop
        if found:
            break
    else:
        shown += scanner.flush()
    assert (found is None) == (not places)
    assert not any(stop in shown for stop in stops)
    if found is None:
        assert shown == whole
    else:
        assert whole.startswith(shown + found)


DELTAS = st.lists(
    st.one_of(
        st.builds(ChatDelta, content=st.text(max_size=4)),
        st.builds(ChatDelta, reasoning=st.text(max_size=4)),
        st.builds(
            ChatDelta,
            call=st.builds(
                ToolCallPiece, slot=st.integers(0, 2), name=st.just("bash"), arguments=st.text(max_size=4)
            ),
        ),
    ),
    max_size=20,
)


@given(DELTAS, st.booleans())
def test_events_are_in_order_and_hold_all_that_was_said(deltas: list[ChatDelta], thinking: bool) -> None:
    writer = MessageWriter("m", thinking=thinking, max_tokens=99)
    last = ChatDelta(finish_reason="stop", usage=Usage(7, 9))
    events = [event for delta in [ChatDelta(), *deltas, last] for event in writer.feed(delta)]
    events += writer.close()
    assert [event["type"] for event in events[:1]] == ["message_start"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks = replayed(events)
    message = writer.message()
    assert json.loads(json.dumps(message)) == message
    for block, whole in zip(blocks, message["content"], strict=True):
        if block["type"] != "tool_use":
            assert block == whole
    said = "".join(block.get("text", "") for block in blocks)
    assert said == "".join(delta.content for delta in deltas)
    thought = "".join(block.get("thinking", "") for block in blocks)
    assert thought == ("".join(delta.reasoning for delta in deltas) if thinking else "")
    for slot in range(3):
        arguments = "".join(d.call.arguments for d in deltas if d.call and d.call.slot == slot)
        if arguments:
            assert arguments in [block.get("json") for block in blocks]
    assert message["usage"] | {"input_tokens": 7, "output_tokens": 9} == message["usage"]


def replayed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puts the blocks together as a client does, which holds the order on the way."""
    blocks: list[dict[str, Any]] = []
    for event in events:
        kind = event["type"]
        if kind == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            names = {
                "text_delta": "text",
                "thinking_delta": "thinking",
                "signature_delta": "signature",
                "input_json_delta": "json",
            }
            (given_name,) = set(delta) - {"type"}
            name = names[delta["type"]]
            block[name] = block.get(name, "") + delta[given_name]
    starts = [event["index"] for event in events if event["type"] == "content_block_start"]
    stops = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert starts == stops == list(range(len(blocks)))
    return blocks


def test_reasoning_is_a_block_with_a_signature() -> None:
    writer = MessageWriter("m")
    events = writer.feed(ChatDelta(reasoning="hm")) + writer.feed(ChatDelta(content="so"))
    kinds = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]
    assert kinds == ["thinking_delta", "signature_delta", "text_delta"]
    writer.close()
    [thought, said] = writer.message()["content"]
    assert thought == {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
    assert said == {"type": "text", "text": "so"}


def test_calls_that_come_whole_are_written_too() -> None:
    writer = MessageWriter("m")
    calls = (ToolCall("a", "bash", '{"command": "ls"}'), ToolCall("b", "bash", "{broken"))
    events = writer.feed(ChatDelta(tool_calls=calls, finish_reason="tool_calls"))
    assert [event["type"] for event in events].count("content_block_start") == 2
    writer.close()
    first, second = writer.message()["content"]
    assert first["input"] == {"command": "ls"}
    assert second["input"] == {"malformed_arguments": "{broken"}
    assert first["id"] != second["id"]
    assert writer.message()["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("usage", "reason"), [(Usage(5, 10), "max_tokens"), (Usage(5, 4), "model_context_window_exceeded")]
)
def test_a_cut_answer_says_what_cut_it(usage: Usage, reason: str) -> None:
    writer = MessageWriter("m", max_tokens=10)
    writer.feed(ChatDelta(finish_reason="length", usage=usage))
    writer.close()
    assert writer.message()["stop_reason"] == reason


def test_results_come_before_what_the_user_adds_and_errors_say_so() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "ls"}}
    thought = {"type": "thinking", "thinking": "look", "signature": "x"}
    failed = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [text("no"), PNG]}
    said, told, more = ask(
        {"role": "assistant", "content": [thought, text("I look."), call]}, user(text("and then?"), failed)
    )
    assert said.tool_calls == (ToolCall("t1", "bash", '{"command": "ls"}'),)
    assert (said.content, said.reasoning) == ("I look.", "look")
    assert (told.role, told.tool_call_id, told.content) == ("tool", "t1", "[error]\nno")
    assert [image.at for image in told.images] == [len("[error]\nno")]
    assert (more.role, more.content) == ("user", "and then?")


def test_images_keep_their_places() -> None:
    [message] = ask(user(text("first:"), PNG, text("second:"), PNG))
    parts = written(message)["content"]
    assert isinstance(parts, list)
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url"]
    assert "".join(part["text"] for part in parts if part["type"] == "text") == "first:\n\nsecond:"


@given(st.text(max_size=9), st.lists(st.integers(0, 9), max_size=4))
def test_the_text_around_images_is_whole(said: str, places: list[int]) -> None:
    images = tuple(Image("data:x", min(place, len(said))) for place in sorted(places))
    parts = written(ChatMessage("user", said, images=images))["content"]
    if images:
        assert isinstance(parts, list)
        assert "".join(part.get("text", "") for part in parts) == said
        assert len([part for part in parts if part["type"] == "image_url"]) == len(images)
    else:
        assert parts == said


def test_system_messages_are_the_first_or_told_apart() -> None:
    system = [text("x-anthropic-billing-header: cc_version=1; cch=ab12"), text("Be kind."), text("Be short.")]
    first, *others = ask(user(text("hi")), {"role": "system", "content": "later"}, system=system)
    assert (first.role, first.content) == ("system", "Be kind.\n\nBe short.")
    assert [(other.role, other.content) for other in others] == [
        ("user", "hi"),
        ("user", "<system>\nlater\n</system>"),
    ]


def test_what_means_nothing_here_is_named() -> None:
    body = MessagesIn.model_validate(
        {
            "model": "m",
            "max_tokens": 5,
            "messages": [user(text("hi"), {"type": "container_upload", "content": [1], "source": 2})],
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
            "mcp_servers": [],
        }
    )
    asked = request(body)
    assert asked.left_out == ["mcp_servers", "tools.web_search_20250305", "content.container_upload"]
    assert list(asked.prompt.tools) == []


def test_documents_of_text_are_read() -> None:
    document = {"type": "document", "title": "Notes", "source": {"type": "text", "data": "all is well"}}
    found = {"type": "search_result", "title": "Web", "source": "x", "content": [text("a fact")]}
    [message] = ask(user(document, {"type": "search_result", "title": "Web", "content": [text("a fact")]}))
    assert message.content == "Notes\n\nall is well\n\nWeb\n\na fact"
    assert ask(user(found))[0].content == "Web\n\na fact"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"chat_template_kwargs": {"enable_thinking": True}, "thinking_budget_tokens": 2048},
        ),
        ({"thinking": {"type": "adaptive"}}, {}),
        (
            {"output_config": {"effort": "max"}},
            {"chat_template_kwargs": {"reasoning_effort": "high"}, "reasoning_effort": "high"},
        ),
    ],
)
def test_thinking_is_told_to_the_template(more: dict[str, object], expected: dict[str, object]) -> None:
    body = Conversation.model_validate({"model": "m", "messages": [user(text("hi"))], **more})
    assert conversation(body).prompt.sampling == expected
