"""What the Ollama surface makes of requests and answers, without a model."""

import base64
import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lm_sandbox.errors import Invalid
from lm_sandbox.models.chat import ChatDelta, ToolCall, Usage
from lm_sandbox.models.engine import Model, ModelDetail
from lm_sandbox.surfaces.ollama.answer import Answer
from lm_sandbox.surfaces.ollama.embedding import shortened
from lm_sandbox.surfaces.ollama.keep_alive import keep_alive_s
from lm_sandbox.surfaces.ollama.rows import running, tagged
from lm_sandbox.surfaces.ollama.translate import chat_messages, chat_prompt, generate_prompt
from lm_sandbox.surfaces.ollama.wire import ChatIn, GenerateIn, MessageIn

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "function": st.fixed_dictionaries(
                {"name": st.sampled_from("ab"), "arguments": st.dictionaries(TEXTS, JSON, max_size=3)}
            )
        }
    ),
    min_size=1,
    max_size=4,
)


@given(CALLS, st.randoms())
def test_every_result_is_joined_to_a_call_of_its_own(calls: list[dict[str, object]], random: object) -> None:
    asked = MessageIn.model_validate({"role": "assistant", "tool_calls": calls})
    names = [call.function.name for call in asked.tool_calls or ()]
    random.shuffle(names)  # type: ignore[attr-defined]
    results = [MessageIn(role="tool", tool_name=name, content=name) for name in names]
    first, *others = chat_messages([asked, *results])
    by_id = {call.id: call for call in first.tool_calls}
    assert len({other.tool_call_id for other in others}) == len(names)
    for name, other in zip(names, others, strict=True):
        assert other.tool_call_id is not None
        assert by_id[other.tool_call_id].name == name
    for given_call, call in zip(calls, first.tool_calls, strict=True):
        assert json.loads(call.arguments) == given_call["function"]["arguments"]  # type: ignore[index]


def test_a_result_without_a_call_does_no_harm() -> None:
    [message] = chat_messages([MessageIn(role="tool", content="x")])
    assert message.tool_call_id


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.integers(0, 99), st.integers(0, 99))
def test_the_lines_of_an_answer_hold_all_of_it(said: list[tuple[str, str]], asked: int, told: int) -> None:
    answer = Answer("m", "chat")
    deltas = [ChatDelta(), *(ChatDelta(content=text, reasoning=why) for text, why in said)]
    deltas.append(ChatDelta(finish_reason="length", usage=Usage(asked, told)))
    lines = [line for delta in deltas for line in answer.lines(delta)]
    assert "".join(line["message"]["content"] for line in lines) == "".join(text for text, _ in said)
    thoughts = "".join(line["message"].get("thinking", "") for line in lines)
    assert thoughts == "".join(why for _, why in said)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    last = lines[-1]
    assert (last["prompt_eval_count"], last["eval_count"], last["done_reason"]) == (asked, told, "length")
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert parts == last["total_duration"]
    whole = answer.whole(last)
    assert whole["message"]["content"] == "".join(text for text, _ in said)
    assert json.loads(json.dumps(whole)) == whole


def test_durations_are_those_of_the_clock() -> None:
    ticks = iter([100, 130, 150, 160, 190])
    answer = Answer("m", "generate", clock=lambda: next(ticks))
    answer.lines(ChatDelta())
    answer.lines(ChatDelta(content="a"))
    answer.lines(ChatDelta(content="b"))
    last = answer.lines(ChatDelta(finish_reason="stop", usage=Usage(1, 2)))[-1]
    durations = ("load_duration", "prompt_eval_duration", "eval_duration", "total_duration")
    assert last["total_duration"] == sum(last[name] for name in durations[:3])
    assert (last["load_duration"], last["prompt_eval_duration"]) == (30, 20)


def test_reasoning_that_is_not_wanted_stays_out() -> None:
    answer = Answer("m", "generate", thinking=False)
    assert answer.lines(ChatDelta(reasoning="hm")) == []


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"x"'])
def test_a_call_that_makes_no_sense_is_text(arguments: str) -> None:
    delta = ChatDelta(tool_calls=(ToolCall("c", "bash", arguments),), finish_reason="tool_calls")
    first, last = Answer("m", "chat").lines(delta)
    assert arguments in first["message"]["content"]
    assert "tool_calls" not in first["message"]
    assert last["done_reason"] == "stop"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (None, None),
        (0, 0),
        (90, 90),
        (-1, math.inf),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("-1m", math.inf),
        ("0", 0),
        ("-1", math.inf),
        ("300", 300),
    ],
)
def test_how_long_a_model_stays_is_read(written: float | str | None, seconds: float | None) -> None:
    assert keep_alive_s(written) == seconds


@given(st.text(max_size=8))
def test_what_is_no_duration_is_refused_and_nothing_else_happens(written: str) -> None:
    with suppress(Invalid):
        seconds = keep_alive_s(written)
        assert seconds is not None
        assert seconds >= 0


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "top_k", "num_predict", "stop", "num_ctx", "tfs_z", "seed", "x"]),
        st.none() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.lists(TEXTS),
    )
)
def test_options_are_translated_or_refused_by_name(options: dict[str, object]) -> None:
    with suppress(Invalid, ValidationError):
        prompt = chat_prompt(ChatIn.model_validate({"model": "m", "messages": [], "options": options}))
        assert options.get("tfs_z") in {None, 1}
        assert "num_ctx" not in prompt.sampling
        assert None not in prompt.sampling.values()
        json.dumps(prompt.sampling)


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (True, {"enable_thinking": True}),
        (False, {"enable_thinking": False}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
    ],
)
def test_thinking_is_told_to_the_template(think: bool | str, expected: dict[str, object]) -> None:
    prompt = generate_prompt(GenerateIn.model_validate({"model": "m", "prompt": "x", "think": think}))
    assert prompt.sampling["chat_template_kwargs"] == expected


@given(st.binary(min_size=1, max_size=40))
def test_images_come_as_data_urls(data: bytes) -> None:
    image = base64.b64encode(data).decode()
    prompt = generate_prompt(GenerateIn(model="m", prompt="what is it?", images=[image]))
    [found] = prompt.messages[0].images
    assert found.url.startswith("data:image/")
    assert base64.b64decode(found.url.partition("base64,")[2]) == data


def test_names_have_tags() -> None:
    assert [tagged(name) for name in ("a", "a:8b", "x:1/a", "hf.co/a/b")] == [
        "a:latest",
        "a:8b",
        "x:1/a:latest",
        "hf.co/a/b:latest",
    ]


@given(st.floats(min_value=0, allow_nan=False))
def test_the_time_of_unloading_is_one_that_can_be_written(seconds: float) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    row = running(ModelDetail(Model("m", "e", unloads_in_s=seconds), {}), "m", now)
    told = datetime.fromisoformat(row["expires_at"])
    assert told >= now
    if seconds < 1000:
        assert told - now <= timedelta(seconds=seconds + 1)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.integers(1, 12))
def test_a_shortened_vector_has_length_one(vector: list[float], dimensions: int) -> None:
    short = shortened(vector, dimensions)
    assert len(short) == min(len(vector), dimensions)
    if dimensions < len(vector) and math.hypot(*vector[:dimensions]) > 1e-6:
        assert math.hypot(*short) == pytest.approx(1)
