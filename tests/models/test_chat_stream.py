import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import EngineUnavailable, UpstreamError
from lm_sandbox.models.chat import ToolCall, Usage
from lm_sandbox.models.chat_stream import ChatStream


def chunk(**delta: object) -> str:
    finish = delta.pop("finish_reason", None)
    return "data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]})


def feed(*lines: str) -> tuple[list[tuple[str, str]], ChatStream]:
    stream = ChatStream()
    pieces = [(delta.content, delta.reasoning) for line in lines for delta in stream.feed(line)]
    return pieces, stream


def test_content_and_reasoning_come_as_they_are_said() -> None:
    pieces, stream = feed(
        chunk(role="assistant", content=""), chunk(reasoning_content="hm"), chunk(content="a"), chunk(content="b"),
        chunk(finish_reason="stop"), "data: [DONE]",
    )  # fmt: skip
    assert pieces == [("", "hm"), ("a", ""), ("b", "")]
    assert stream.end().finish_reason == "stop"


def test_tool_calls_are_put_together_by_their_index() -> None:
    one = {"index": 0, "id": "x", "function": {"name": "bash", "arguments": '{"com'}}
    two = {"index": 1, "id": "y", "function": {"name": "bash", "arguments": "{}"}}
    rest = {"index": 0, "function": {"arguments": 'mand": "ls"}'}}
    _, stream = feed(
        chunk(tool_calls=[one, two]), chunk(tool_calls=[rest]), chunk(finish_reason="tool_calls")
    )
    assert stream.end().tool_calls == (
        ToolCall("x", "bash", '{"command": "ls"}'),
        ToolCall("y", "bash", "{}"),
    )


def test_usage_is_taken_from_the_chunk_without_choices() -> None:
    usage = 'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    _, stream = feed(chunk(content="a"), chunk(finish_reason="stop"), usage)
    assert stream.end().usage == Usage(3, 4)


def test_an_error_in_the_middle_is_told_in_the_engines_words() -> None:
    with pytest.raises(UpstreamError, match="out of slots"):
        feed(chunk(content="a"), 'data: {"error": {"message": "out of slots"}}')


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    _, stream = feed(chunk(content="half an ans"))
    with pytest.raises(EngineUnavailable, match="broke off"):
        stream.end()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "tool_calls", "index", "function", "usage", "name"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(st.text(max_size=30) | json_values.map(lambda value: "data: " + json.dumps(value)), max_size=8)
)
def test_garbage_never_breaks_the_reader(lines: list[str]) -> None:
    stream = ChatStream()
    for line in lines:
        for delta in stream.feed(line):
            assert isinstance(delta.content, str)
