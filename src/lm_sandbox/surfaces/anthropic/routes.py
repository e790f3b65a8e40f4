"""/v1/messages: as events or whole; and how many tokens a conversation takes."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.agent.events import HeardEnough
from lm_sandbox.agent.tools import bash_tool
from lm_sandbox.models.chat import ChatDelta
from lm_sandbox.surfaces.anthropic.errors import REQUEST_ID, SSE, anthropic_error, new_request_id
from lm_sandbox.surfaces.anthropic.translate import conversation
from lm_sandbox.surfaces.anthropic.translate import request as translated
from lm_sandbox.surfaces.anthropic.wire import Conversation, MessagesIn
from lm_sandbox.surfaces.anthropic.writer import MessageWriter
from lm_sandbox.surfaces.deps import Deps, ModelCaller
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.generation import base_name, generate
from lm_sandbox.surfaces.live import LiveResponse
from lm_sandbox.surfaces.open_body import left_out
from lm_sandbox.surfaces.streams import Write, sse, while_connected
from lm_sandbox.surfaces.unforced import unforced_headers

ROUTER = APIRouter(prefix="/v1/messages", tags=["anthropic"], route_class=route_class(anthropic_error))

BETA = "anthropic-beta"
NETWORK = "There is no network."


@ROUTER.post("", response_model=None)
async def create_message(body: MessagesIn, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Goes on with a conversation; with `NAME+bash` the model may run commands in a sandbox."""
    asked = translated(body)
    writer = MessageWriter(
        body.model,
        thinking=body.thinking is None or body.thinking.shown,
        stops=body.stop_sequences or (),
        max_tokens=body.max_tokens,
    )
    headers = _headers(request, asked.left_out) | asked.prompt.headers
    if not body.stream:

        async def keep(delta: ChatDelta) -> None:
            writer.feed(delta)
            _end_at_stop(writer)

        await while_connected(request, lambda: generate(deps, caller, asked.prompt, keep))
        writer.close()
        told = unforced_headers(unforced=writer.unforced)
        return JSONResponse(writer.message(), headers=headers | told)

    async def produce(write: Write) -> None:
        async def emit(delta: ChatDelta) -> None:
            for event in writer.feed(delta):
                await write(sse(event, event["type"]))
            _end_at_stop(writer)

        await generate(deps, caller, asked.prompt, emit)
        for event in writer.close():
            await write(sse(event, event["type"]))

    return LiveResponse(produce, SSE, headers)


@ROUTER.post("/count_tokens", response_model=None)
async def count_tokens(body: Conversation, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Counts by the model's own template and tokenizer, where its engine has calls for that."""
    asked = conversation(body)
    base = base_name(body.model)
    tools = [bash_tool(NETWORK)] if base is not None else asked.prompt.tools

    async def count() -> int:
        async with deps.models.lease(base or body.model, caller.id) as lease:
            return await deps.chat.count_tokens(lease, asked.prompt.messages, tools)

    tokens = await while_connected(request, count)
    return JSONResponse({"input_tokens": tokens}, headers=_headers(request, asked.left_out))


def _end_at_stop(writer: MessageWriter) -> None:
    if writer.stopped_at is not None:
        raise HeardEnough


def _headers(request: Request, names: list[str]) -> dict[str, str]:
    betas = request.headers.get(BETA, "").split(",")
    told = [f"{BETA}: {name.strip()}" for name in betas if name.strip()]
    return {REQUEST_ID: new_request_id(), **left_out([*names, *told])}
