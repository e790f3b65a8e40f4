"""/v1/chat/completions: straight to the engine, or through the tool loop for NAME+bash."""

import time
from secrets import token_hex

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.agent.events import EndReason, Event, ReasoningDelta, RunResult
from lm_sandbox.agent.request import RunRequest, Shell
from lm_sandbox.agent.tools import describe_network
from lm_sandbox.errors import NotHonoured
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.forcing import Forced
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import failure_of, route_class
from lm_sandbox.surfaces.generation import (
    BASH_SUFFIX,
    RUN_HEADER,
    SHELL_TOOL,
    as_markdown,
    base_name,
    conversation_sandbox,
)
from lm_sandbox.surfaces.openai.errors import error_body, openai_error
from lm_sandbox.surfaces.openai.forced import ForcedChat
from lm_sandbox.surfaces.openai.messages import ChatRequest, refuse_far_pictures, to_messages
from lm_sandbox.surfaces.openai.passthrough import pass_through
from lm_sandbox.surfaces.runs.draft import Asked, Draft, result_of
from lm_sandbox.surfaces.runs.making import Making
from lm_sandbox.surfaces.runs.record import items_of
from lm_sandbox.surfaces.streams import EventStream, Write, sse, while_connected

ROUTER = APIRouter(tags=["openai"], route_class=route_class(openai_error))

DONE = b"data: [DONE]\n\n"
SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "reasoning_effort",
)
# What the tool loop cannot honour, and what would change the answer if it were left out.
REFUSED = ("tools", "functions", "response_format", "n", "logprobs")


@ROUTER.post("/v1/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Answers a conversation; with `NAME+bash` the model may run commands in a sandbox.

    A conversation keeps its sandbox: it is found again by `metadata.conversation`, by `user`, or by
    how the conversation opened.
    """
    refuse_far_pictures(body.messages)
    model = base_name(body.model)
    if model is None:
        forced = None if _asks_for_several(body) else Forced.of(body.model_extra or {})
        if forced is not None:
            return await ForcedChat(await request.json(), forced, caller, deps).answer(request)
        return await pass_through(request, deps, body.model, "/v1/chat/completions", caller)
    making = await _prepare(body, model, caller, deps)
    writer = _ChatWriter(body.model)
    headers = {RUN_HEADER: making.draft.id} if making.draft.asked.stored else {}
    if body.stream:
        usage_wanted = bool((body.stream_options or {}).get("include_usage"))
        return EventStream(lambda write: _stream(making, writer, write, usage_wanted), headers=headers)
    text: list[str] = []
    reasoning: list[str] = []

    async def emit(event: Event) -> None:
        text.append(as_markdown(event))
        reasoning.append(event.text if isinstance(event, ReasoningDelta) else "")

    await while_connected(request, lambda: making.make(emit=emit))
    whole = writer.whole("".join(text), "".join(reasoning), result_of(making.draft))
    return JSONResponse(whole, headers=headers)


def _asks_for_several(body: ChatRequest) -> bool:
    return (body.model_extra or {}).get("n") not in {None, 1}


async def _prepare(body: ChatRequest, model: str, caller: Principal, deps: Services) -> Making:
    extra = body.model_extra or {}
    for name in REFUSED:
        if extra.get(name) not in (None, [], 1, False, {"type": "text"}):
            raise NotHonoured(f"{name} cannot be used with a {BASH_SUFFIX} model.", field=name)
    await deps.models.resolve(model)
    messages = to_messages(body.messages)
    named = (body.metadata or {}).get("conversation") or body.user
    sandbox = await conversation_sandbox(deps, caller, messages, named)
    run = RunRequest(
        model=model,
        messages=messages,
        shell=Shell(sandbox.id, describe_network(sandbox.egress)),
        sampling={name: extra[name] for name in SAMPLING if extra.get(name) is not None},
    )
    asked = Asked(body.model, items_of(messages), SHELL_TOOL, stored=body.store is not False)
    return Making(Draft(asked), run, caller, deps)


async def _stream(making: Making, writer: "_ChatWriter", write: Write, usage_wanted: bool) -> None:
    async def emit(event: Event) -> None:
        if isinstance(event, ReasoningDelta):
            await write(sse(writer.chunk({"reasoning_content": event.text})))
        elif text := as_markdown(event):
            await write(sse(writer.chunk({"content": text})))

    await write(sse(writer.chunk({"role": "assistant", "content": ""})))
    await making.make(emit=emit)
    try:
        result = result_of(making.draft)
    except Exception as error:  # noqa: BLE001 - the answer has begun: its end tells what happened
        await write(sse(error_body(failure_of(error))))
    else:
        await write(sse(writer.chunk({}, _finish_reason(result))))
        if usage_wanted:
            await write(sse(writer.usage_chunk(result)))
    await write(DONE)


class _ChatWriter:
    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def chunk(self, delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, result: RunResult) -> dict[str, object]:
        return {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": _usage(result),
        }

    def whole(self, text: str, reasoning: str, result: RunResult) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": text}
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(result)}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(result),
        }


def _finish_reason(result: RunResult) -> str:
    return "stop" if result.reason is EndReason.ANSWERED else "length"


def _usage(result: RunResult) -> dict[str, int]:
    usage = result.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
