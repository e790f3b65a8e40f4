"""The loop against models that misbehave, scripted, with real sandboxes."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from lm_sandbox.agent.events import CallRejected, CommandFinished, EndReason, Event
from lm_sandbox.agent.loop import AgentLoop, RunRequest
from lm_sandbox.config import AgentSettings
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.models.chat import ChatDelta, ChatMessage, ToolCall, Usage
from lm_sandbox.models.engine import Lease
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio

OWNER = Principal("me", "Me", frozenset({Scope.ADMIN}))


class Scripted:
    """A model that says what the test wants; it stands in for a registry and a client at once."""

    def __init__(self, *turns: ChatDelta) -> None:
        self._turns = list(turns)
        self.seen: list[Sequence[ChatMessage]] = []

    @asynccontextmanager
    async def lease(self, name: str, caller: str = "") -> AsyncIterator[Lease]:
        del caller
        yield Lease("", name)

    async def stream_chat(
        self, lease: Lease, messages: Sequence[ChatMessage], **more: object
    ) -> AsyncIterator[ChatDelta]:
        del lease, more
        self.seen.append(list(messages))
        yield self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]


def bash(command: str, name: str = "bash") -> ChatDelta:
    return calls((name, json.dumps({"command": command})))


def calls(*wanted: tuple[str, str]) -> ChatDelta:
    tools = tuple(ToolCall(f"c{i}", name, arguments) for i, (name, arguments) in enumerate(wanted))
    return ChatDelta(tool_calls=tools, finish_reason="tool_calls", usage=Usage(10, 5))


SAID = ChatDelta(finish_reason="stop", usage=Usage(10, 5))
Run = Callable[..., object]


async def run(services: Services, model: Scripted, **settings: object) -> tuple[EndReason, list[Event], int]:
    sandbox = await services.sandboxes.create(OWNER, NewSandbox())
    loop = AgentLoop(model, model, services.sandboxes, AgentSettings(**settings))  # type: ignore[arg-type]
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    result = await loop.run(OWNER, RunRequest("m", [ChatMessage("user", "go")], sandbox.id), emit)
    return result.reason, events, result.usage.prompt_tokens


async def test_the_output_of_a_command_is_what_the_model_sees_next(services: Services) -> None:
    model = Scripted(bash("echo $((6 * 7))"), SAID)
    reason, _, tokens = await run(services, model)
    assert reason is EndReason.ANSWERED
    assert model.seen[1][-1] == ChatMessage("tool", "42", tool_call_id="c0")
    assert tokens == 20


async def test_several_calls_of_one_turn_are_all_run_in_order(services: Services) -> None:
    wanted = [("bash", '{"command": "echo a > f"}'), ("bash", '{"command": "cat f"}')]
    model = Scripted(calls(*wanted), SAID)
    await run(services, model)
    assert [message.content for message in model.seen[1][-2:]] == ["[no output]", "a"]


async def test_a_malformed_call_goes_back_to_the_model_as_an_error(services: Services) -> None:
    model = Scripted(calls(("bash", "{broken")), bash("echo ok"), SAID)
    reason, events, _ = await run(services, model)
    assert reason is EndReason.ANSWERED
    assert any(isinstance(event, CallRejected) for event in events)
    assert "JSON" in (model.seen[1][-1].content or "")


async def test_an_unknown_tool_goes_back_to_the_model_as_an_error(services: Services) -> None:
    model = Scripted(bash("x", name="python"), SAID)
    _, events, _ = await run(services, model)
    assert not any(isinstance(event, CommandFinished) for event in events)
    assert "python" in (model.seen[1][-1].content or "")


async def test_the_same_failure_twice_ends_the_run(services: Services) -> None:
    reason, events, _ = await run(services, Scripted(bash("cat missing")))
    assert reason is EndReason.REPEATED_FAILURE
    assert len([event for event in events if isinstance(event, CommandFinished)]) == 2


async def test_a_model_that_never_answers_meets_the_step_limit(services: Services) -> None:
    reason, events, _ = await run(services, Scripted(bash("date +%N")), max_steps=3)
    assert reason is EndReason.STEP_LIMIT
    assert len([event for event in events if isinstance(event, CommandFinished)]) == 3


async def test_a_run_ends_at_its_wall_time(services: Services) -> None:
    reason, _, _ = await run(services, Scripted(bash("sleep 30")), max_wall_s=0.5)
    assert reason is EndReason.TIME_LIMIT


async def test_a_command_that_hangs_is_ended_and_the_run_goes_on(services: Services) -> None:
    model = Scripted(bash("sleep 30"), SAID)
    reason, _, _ = await run(services, model, command_timeout_s=0.3)
    assert reason is EndReason.ANSWERED
    assert (model.seen[1][-1].content or "").startswith("[timed out after 0.3 s]")


async def test_a_long_output_is_cut_in_the_middle_for_the_model(services: Services) -> None:
    model = Scripted(bash("seq 100000"), SAID)
    await run(services, model, max_tool_output_chars=1000)
    told = model.seen[1][-1].content or ""
    assert told.startswith("1\n2\n")
    assert told.endswith("100000")
    assert "bytes left out" in told
    assert len(told) < 1200


async def test_an_answer_that_is_cut_by_tokens_says_so(services: Services) -> None:
    reason, _, _ = await run(services, Scripted(ChatDelta(finish_reason="length")))
    assert reason is EndReason.TOKEN_LIMIT
