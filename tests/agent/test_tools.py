import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.agent.tools import BadToolCall, cut_middle, describe_result, parse_bash_call
from lm_sandbox.agent.transcript import parse, render_step
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.limits import Limit


def result(stdout: bytes = b"", stderr: bytes = b"", code: int | None = 0, **more: object) -> CommandResult:
    fields: dict[str, object] = {"signal": None, "timed_out": False, "limits": (), **more}
    return CommandResult(
        id="c", exit_code=code, stdout=stdout, stderr=stderr, stdout_bytes=len(stdout), stderr_bytes=len(stderr),
        truncated=False, duration_ms=1.0, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given_result", "told"),
    [
        (result(b"hi\n"), "hi"),
        (result(), "[no output]"),
        (result(b"out\n", b"err\n", 2), "[exit code 2]\nout\nerr"),
        (result(code=1), "[exit code 1]"),
        (result(b"x", code=None, signal="SIGKILL", timed_out=True), "[timed out after 30 s]\nx"),
        (result(code=None, signal="SIGKILL", limits=(Limit.MEMORY,)), "[killed by SIGKILL: memory limit]"),
        (result(b"x", code=1, limits=(Limit.DISK,)), "[exit code 1; disk limit]\nx"),
        (result(b"\xff\n"), "�"),
    ],
)
def test_a_result_is_told_with_what_matters_first(given_result: CommandResult, told: str) -> None:
    assert describe_result(given_result, 30, 1000) == told


@given(st.text(max_size=400), st.integers(2, 100))
def test_a_long_output_loses_its_middle_only(text: str, most: int) -> None:
    cut = cut_middle(text, most)
    if len(text) <= most:
        assert cut == text
    else:
        assert cut.startswith(text[: most - most // 2])
        assert "bytes left out" in cut


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("python", "{}"), ("bash", "{"), ("bash", "[]"), ("bash", "{}"), ("bash", '{"command": 3}'),
     ("bash", '{"command": " "}'), ("bash", '{"command": "a\\u0000b"}')],
)  # fmt: skip
def test_a_call_that_makes_no_sense_is_explained_to_the_model(name: str, arguments: str) -> None:
    with pytest.raises(BadToolCall, match="bash|command"):
        parse_bash_call(name, arguments)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=60)


@given(
    st.lists(st.tuples(texts, texts), max_size=3),
    texts.filter(lambda text: "```" not in text and text.strip()),
)
def test_a_transcript_reads_back_as_the_calls_that_it_was_written_from(
    steps: list[tuple[str, str]], answer: str
) -> None:
    written = "".join(render_step(command, told) for command, told in steps) + answer.strip()
    messages = parse(written)
    calls = [json.loads(call.arguments)["command"] for message in messages for call in message.tool_calls]
    tools = [message.content for message in messages if message.role == "tool"]
    assert list(zip(calls, tools, strict=True)) == steps
    assert messages[-1].content == answer.strip()
