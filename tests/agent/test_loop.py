"""The loop against models that misbehave, scripted, with real sandboxes."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

from lm_sandbox.agent.events import (
    CallRejected,
    CommandFinished,
    CommandProposed,
    CommandStarted,
    EndReason,
    Event,
    FunctionCalled,
)
from lm_sandbox.agent.loop import AgentLoop
from lm_sandbox.agent.request import Consent, RunRequest, Shell
from lm_sandbox.config.agent import AgentSettings
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.models.chat import ChatDelta, ChatMessage, ToolCall, Usage
from lm_sandbox.models.engine import Lease
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio

T = TypeVar("T")
OWNER = Principal("me", "Me", frozenset({Scope.ADMIN}))


class Scripted:
    """A model that says what the test wants; it stands in for a registry and a client at once."""

    def __init__(self, *turns: ChatDelta) -> None:
        self._turns = list(turns)
        self.seen: list[Sequence[ChatMessage]] = []
        self.asked: list[dict[str, object]] = []

    @asynccontextmanager
    async def lease(
        self, name: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AsyncIterator[Lease]:
        del caller, keep_alive_s
        yield Lease("", name)

    async def stream_chat(
        self, lease: Lease, messages: Sequence[ChatMessage], **more: object
    ) -> AsyncIterator[ChatDelta]:
        del lease
        self.seen.append(list(messages))
        self.asked.append(more)
        yield self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]


def bash(command: str, name: str = "bash") -> ChatDelta:
    return calls((name, json.dumps({"command": command})))


def calls(*wanted: tuple[str, str]) -> ChatDelta:
    tools = tuple(ToolCall(f"c{i}", name, arguments) for i, (name, arguments) in enumerate(wanted))
    return ChatDelta(tool_calls=tools, finish_reason="tool_calls", usage=Usage(10, 5))


SAID = ChatDelta(finish_reason="stop", usage=Usage(10, 5))


@dataclass
class Ran:
    reason: EndReason
    events: list[Event]
    usage: Usage

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


async def start(
    services: Services, model: Scripted, request: RunRequest, settings: AgentSettings | None = None
) -> Ran:
    loop = AgentLoop(model, model, services.sandboxes, settings or AgentSettings())  # type: ignore[arg-type]
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    result = await loop.run(OWNER, request, emit)
    return Ran(result.reason, events, result.usage)


async def request_in_a_sandbox(services: Services, **more: object) -> RunRequest:
    sandbox = await services.sandboxes.create(OWNER, NewSandbox())
    consent = more.pop("consent", Consent.GIVEN)
    shell = Shell(sandbox.id, consent=consent)  # type: ignore[arg-type]
    return RunRequest("m", [ChatMessage("user", "go")], shell, **more)  # type: ignore[arg-type]


async def run(services: Services, model: Scripted, **settings: object) -> tuple[EndReason, list[Event], int]:
    request = await request_in_a_sandbox(services)
    ran = await start(services, model, request, AgentSettings(**settings))
    return ran.reason, ran.events, ran.usage.prompt_tokens


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


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def test_a_call_of_the_callers_own_tool_ends_the_run_after_the_commands_of_that_turn(
    services: Services,
) -> None:
    model = Scripted(calls(("weather", '{"city": "Rome"}'), ("bash", '{"command": "echo ok"}')))
    ran = await start(services, model, await request_in_a_sandbox(services, functions=[WEATHER]))
    assert ran.reason is EndReason.CALLERS_TURN
    assert ran.of(FunctionCalled) == [FunctionCalled("c0", "weather", '{"city": "Rome"}')]
    assert [event.told for event in ran.of(CommandFinished)] == ["ok"]


async def test_without_parallel_calls_only_the_first_of_a_turn_is_carried_out(services: Services) -> None:
    model = Scripted(calls(("bash", '{"command": "echo 1"}'), ("bash", '{"command": "echo 2"}')), SAID)
    ran = await start(services, model, await request_in_a_sandbox(services, parallel_calls=False))
    assert [event.told for event in ran.of(CommandFinished)] == ["1"]
    assert model.asked[0]["sampling"] == {"parallel_tool_calls": False}


async def test_a_tool_choice_is_for_the_first_turn_alone(services: Services) -> None:
    model = Scripted(bash("true"), SAID)
    await start(services, model, await request_in_a_sandbox(services, tool_choice="required"))
    assert [asked["sampling"] for asked in model.asked] == [{"tool_choice": "required"}, {}]


@pytest.mark.parametrize("consent", [Consent.ASKED, Consent.HANDED_OVER])
async def test_a_command_without_consent_is_proposed_and_not_run(
    consent: Consent, services: Services
) -> None:
    model = Scripted(calls(("bash", '{"command": "touch f", "timeout_s": 5}')))
    ran = await start(services, model, await request_in_a_sandbox(services, consent=consent))
    assert ran.reason is EndReason.CALLERS_TURN
    assert ran.of(CommandProposed) == [CommandProposed("c0", "touch f", 5.0, consent)]
    assert not ran.of(CommandStarted)


async def test_what_was_agreed_to_is_carried_out_before_the_model_goes_on(services: Services) -> None:
    agreed = [ToolCall("c9", "bash", '{"command": "echo agreed"}')]
    model = Scripted(SAID)
    request = await request_in_a_sandbox(services, consent=Consent.ASKED, agreed=agreed)
    ran = await start(services, model, request)
    assert ran.reason is EndReason.ANSWERED
    assert model.seen[0][-1] == ChatMessage("tool", "agreed", tool_call_id="c9")


async def test_a_model_that_wants_more_commands_than_it_may_is_told_and_then_ended(
    services: Services,
) -> None:
    model = Scripted(bash("date +%N"))
    ran = await start(services, model, await request_in_a_sandbox(services, max_commands=2))
    assert ran.reason is EndReason.COMMAND_LIMIT
    assert len(ran.of(CommandFinished)) == 2
    assert "limit of 2 commands" in (model.seen[3][-1].content or "")


async def test_tokens_are_counted_over_all_turns(services: Services) -> None:
    model = Scripted(bash("date +%N"))
    ran = await start(services, model, await request_in_a_sandbox(services, max_tokens=12))
    assert ran.reason is EndReason.TOKEN_LIMIT
    assert [asked["sampling"] for asked in model.asked] == [{"max_tokens": n} for n in (12, 7, 2)]


async def test_the_model_may_shorten_the_time_of_a_command_and_not_lengthen_it(services: Services) -> None:
    wanted = [("bash", f'{{"command": "sleep 30", "timeout_s": {s}}}') for s in ("0.2", "9999", "NaN", "-1")]
    model = Scripted(calls(*wanted), SAID)
    request = await request_in_a_sandbox(services)
    ran = await start(services, model, request, AgentSettings(command_timeout_s=0.5))
    told = [event.told for event in ran.of(CommandFinished)]
    assert told == [f"[timed out after {s} s]" for s in (0.2, 0.5, 0.5, 0.5)]


async def test_what_was_cut_for_the_model_is_in_a_file_that_it_can_read(services: Services) -> None:
    model = Scripted(bash("seq 100000"), bash("sed -n 54321p /tmp/output-1.txt"), SAID)
    reason, _, _ = await run(services, model, max_tool_output_chars=1000)
    assert reason is EndReason.ANSWERED
    assert "all is in /tmp/output-1.txt" in (model.seen[1][-1].content or "")
    assert model.seen[2][-1].content == "54321"
