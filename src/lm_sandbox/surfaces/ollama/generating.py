"""/api/chat and /api/generate: lines as they come, or one object."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.models.chat import ChatDelta
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.generation import Prompt, base_name, generate
from lm_sandbox.surfaces.live import LiveResponse
from lm_sandbox.surfaces.ollama.answer import Answer
from lm_sandbox.surfaces.ollama.capabilities import refuse_what_it_cannot
from lm_sandbox.surfaces.ollama.errors import NDJSON, line, ollama_error
from lm_sandbox.surfaces.ollama.keeping import kept
from lm_sandbox.surfaces.ollama.passthrough import is_ollamas, pass_through
from lm_sandbox.surfaces.ollama.translate import chat_prompt, generate_prompt
from lm_sandbox.surfaces.ollama.wire import ChatIn, GenerateIn, Generation
from lm_sandbox.surfaces.open_body import left_out
from lm_sandbox.surfaces.streams import Write, while_connected

ROUTER = APIRouter(prefix="/api", tags=["ollama"], route_class=route_class(ollama_error))


@ROUTER.post("/chat", response_model=None)
async def chat(body: ChatIn, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Answers a conversation; with `NAME+bash` the model may run commands in a sandbox."""
    if not body.messages:
        return await _only_load(body, caller, deps)
    if await is_ollamas(deps, body.model):
        return await pass_through(body, request, caller, deps)
    return await _answer(body, chat_prompt(body), request, caller, deps)


@ROUTER.post("/generate", response_model=None)
async def generate_text(body: GenerateIn, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Answers a prompt; with `raw` goes on with a text as it stands."""
    if not body.prompt and not body.images:
        return await _only_load(body, caller, deps)
    if await is_ollamas(deps, body.model):
        return await pass_through(body, request, caller, deps)
    return await _answer(body, generate_prompt(body), request, caller, deps)


async def _answer(
    body: Generation, prompt: Prompt, request: Request, caller: Principal, deps: Services
) -> Response:
    keeping = kept(caller, body.keep_alive)
    headers = left_out([*body.left_out(), *keeping.left_out]) | prompt.headers
    await refuse_what_it_cannot(deps, prompt, thinking=bool(body.think))
    prompt = keeping.of(prompt)
    answer = Answer(body.model, body.kind, thinking=body.think is not False)
    if body.streamed:

        async def produce(write: Write) -> None:
            async def emit(delta: ChatDelta) -> None:
                for content in answer.lines(delta):
                    await write(line(content))

            await generate(deps, caller, prompt, emit)

        return LiveResponse(produce, NDJSON, headers)
    last: dict[str, Any] = {}

    async def keep(delta: ChatDelta) -> None:
        for content in answer.lines(delta):
            last.update(content)

    await while_connected(request, lambda: generate(deps, caller, prompt, keep))
    return JSONResponse(answer.whole(last), headers=headers)


async def _only_load(body: Generation, caller: Principal, deps: Services) -> Response:
    """Loads the model, or, kept for no time, unloads it."""
    keeping = kept(caller, body.keep_alive)
    name = base_name(body.model) or body.model
    engine, model = await deps.models.resolve(name)
    if keeping.wanted_s == 0:
        caller.require(Scope.ADMIN)
        await engine.unload(model.name)
    else:
        async with deps.models.lease(name, caller.id, keeping.granted_s):
            pass
    return JSONResponse(Answer(body.model, body.kind).loaded("unload" if keeping.wanted_s == 0 else "load"))
