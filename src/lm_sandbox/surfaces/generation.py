"""A model's answer for surfaces with a wire format of their own; for NAME+bash by the tool loop."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio

from lm_sandbox.agent.conversations import conversation_key
from lm_sandbox.agent.events import (
    AnswerDelta,
    CommandFinished,
    EndReason,
    Event,
    HeardEnough,
    ReasoningDelta,
)
from lm_sandbox.agent.request import RunRequest, Shell
from lm_sandbox.agent.tools import describe_network
from lm_sandbox.agent.transcript import parse, render_step
from lm_sandbox.errors import NotHonoured
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import ChatDelta, ChatMessage, Usage
from lm_sandbox.models.registry import LATEST
from lm_sandbox.sandboxes.sandbox import Sandbox
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.runs.draft import Asked, Draft, new_response_id, result_of
from lm_sandbox.surfaces.runs.making import Making
from lm_sandbox.surfaces.runs.record import items_of

BASH_SUFFIX = "+bash"
RUN_HEADER = "x-lm-sandbox-run"
SHELL_TOOL = {"tools": [{"type": "shell"}]}
Emit = Callable[[ChatDelta], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked, by whichever surface it came.

    Attributes:
        model: Its name, with `+bash` for the tool loop.
        messages: The conversation.
        tools: Those that the client runs, as OpenAI writes them.
        sampling: More parameters, by their names in OpenAI's or llama.cpp's requests.
        conversation: The client's own name for the conversation, where it has one.
        text: Instead of messages, a text to go on with as it stands.
        keep_alive_s: How long the model then stays loaded; None leaves that as it is.
        counted: Whether tokens should be counted as they come, where the engine can.
        run_id: Names the run by which a `+bash` model answers.
    """

    model: str
    messages: Sequence[ChatMessage] = ()
    tools: Sequence[Mapping[str, object]] = ()
    sampling: Mapping[str, object] = field(default_factory=dict)
    conversation: str | None = None
    text: str | None = None
    keep_alive_s: float | None = None
    counted: bool = False
    run_id: str = field(default_factory=new_response_id)

    @property
    def headers(self) -> dict[str, str]:
        """Those that tell of its run, where there will be one."""
        return {} if base_name(self.model) is None else {RUN_HEADER: self.run_id}


def base_name(name: str) -> str | None:
    """Returns which model a `NAME+bash` is; None where the name has no such ending."""
    for ending in (BASH_SUFFIX, BASH_SUFFIX + LATEST):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return None


async def generate(deps: Services, caller: Principal, prompt: Prompt, emit: Emit) -> None:
    """Lets the model answer.

    `emit` gets an empty delta when the model is ready, then what it says, and last how it ended. It raises
    `HeardEnough` where the model need not go on; then it gets no more.

    Raises:
        ModelNotFound, ModelFailed, NoCapacity, EngineUnavailable: it cannot be had.
        UpstreamError: it failed; of it ContextTooLong.
        QuotaReached, RateLimited: the caller has taken what it may.
        NotHonoured: this cannot be asked of a `+bash` model.
    """
    base = base_name(prompt.model)
    if base is not None:
        await _run_loop(deps, caller, prompt, base, emit)
        return
    await deps.shares.check_tokens(caller)
    with deps.shares.run(caller):
        await _answer(deps, caller, prompt, emit)


async def _answer(deps: Services, caller: Principal, prompt: Prompt, emit: Emit) -> None:
    usage = Usage()
    try:
        async with deps.models.lease(prompt.model, caller.id, prompt.keep_alive_s) as lease:
            await emit(ChatDelta())
            sampling = {**prompt.sampling, **(lease.counting if prompt.counted else {})}
            if prompt.text is not None:
                answer = deps.chat.stream_text(lease, prompt.text, sampling=sampling)
            else:
                answer = deps.chat.stream_chat(lease, prompt.messages, tools=prompt.tools, sampling=sampling)
            async with aclosing(answer) as deltas:
                async for delta in deltas:
                    usage = delta.usage or Usage(usage.prompt_tokens, usage.completion_tokens + 1)
                    await emit(delta)
    except HeardEnough:
        return
    finally:
        # What was said counts, also to one who has left.
        with anyio.CancelScope(shield=True):
            await deps.shares.charge_tokens(caller, usage.prompt_tokens + usage.completion_tokens)


async def conversation_sandbox(
    deps: Services, caller: Principal, messages: Sequence[ChatMessage], named: str | None
) -> Sandbox:
    """Finds the sandbox of a conversation, or makes it one.

    Without its own name a conversation is known by its opening, as clients send all of it again.

    Raises:
        NoCapacity: a new one is needed and there is no room.
    """
    opening = [(m.role, m.content) for m in messages if m.role in {"system", "user"}]
    first_user = next((content for role, content in opening if role == "user"), None)
    key = conversation_key(caller, str(named or [*opening[:1], first_user]))
    continues = bool(named) or any(message.role == "assistant" for message in messages)
    return await deps.conversations.sandbox(caller, key, new=not continues)


def as_markdown(event: Event) -> str:
    """Writes an event of a run as a part of the answer; most are none."""
    if isinstance(event, AnswerDelta):
        return event.text
    if isinstance(event, CommandFinished):
        return render_step(event.command, event.told)
    return ""


async def _run_loop(deps: Services, caller: Principal, prompt: Prompt, model: str, emit: Emit) -> None:
    _refuse_what_the_loop_cannot(prompt)
    await deps.models.resolve(model)
    messages = [ours for message in prompt.messages for ours in _parsed(message)]
    sandbox = await conversation_sandbox(deps, caller, messages, prompt.conversation)

    async def tell(event: Event) -> None:
        reasoning = event.text if isinstance(event, ReasoningDelta) else ""
        await emit(ChatDelta(content=as_markdown(event), reasoning=reasoning))

    shell = Shell(sandbox.id, describe_network(sandbox.egress))
    run = RunRequest(model, messages, shell, sampling=prompt.sampling)
    draft = Draft(Asked(prompt.model, items_of(messages), SHELL_TOOL), prompt.run_id)
    await Making(draft, run, caller, deps).make(emit=tell)
    result = result_of(draft)
    if result.reason is not EndReason.HEARD_ENOUGH:
        finish = "stop" if result.reason is EndReason.ANSWERED else "length"
        await emit(ChatDelta(finish_reason=finish, usage=result.usage))


def _refuse_what_the_loop_cannot(prompt: Prompt) -> None:
    refused = {
        "tools": prompt.tools,
        "format": prompt.sampling.get("response_format"),
        "raw": prompt.text is not None,
    }
    for name, value in refused.items():
        if value:
            raise NotHonoured(f"{name} cannot be used with a {BASH_SUFFIX} model.", field=name)


def _parsed(message: ChatMessage) -> list[ChatMessage]:
    if message.role == "assistant" and not message.tool_calls:
        return parse(message.content or "")
    return [message]
