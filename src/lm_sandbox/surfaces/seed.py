"""The routes that this project began with: `{"cmd": "..."}` in, `{"output", "error"}` out."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.agent.conversations import conversation_key
from lm_sandbox.agent.events import AnswerDelta, Event
from lm_sandbox.agent.request import RunRequest
from lm_sandbox.errors import UpstreamError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.models.engine import Engine
from lm_sandbox.sandboxes.sandbox import NewCommand
from lm_sandbox.surfaces.deps import Deps, ModelCaller, SandboxCaller, Services
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.streams import while_connected

ROUTER = APIRouter(tags=["seed"], route_class=route_class(problem))


class SeedRequest(BaseModel):
    """A command, or a prompt."""

    model_config = ConfigDict(extra="forbid")

    cmd: str = Field(min_length=1, pattern=r"^[^\x00]+$", examples=["whoami"])
    model: str | None = Field(None, description="another model than the first of the engine")


class SeedAnswer(BaseModel):
    """What came out."""

    output: str
    error: str = ""


class BashAnswer(SeedAnswer):
    """What a command wrote; `exit_code` is null when a signal or a limit ended it."""

    exit_code: int | None
    limits: list[str] = Field(default_factory=list)


@ROUTER.post("/run-bash/")
async def run_bash(body: SeedRequest, caller: SandboxCaller, deps: Deps, request: Request) -> BashAnswer:
    """Runs a command in a sandbox of yours that stays from one call to the next."""
    key = conversation_key(caller, "seed")
    sandbox = await deps.conversations.sandbox(caller, key, new=False)
    result = await while_connected(
        request, lambda: deps.sandboxes.run(caller, sandbox.id, NewCommand(body.cmd))
    )
    return BashAnswer(
        output=result.stdout.decode(errors="replace"),
        error=result.stderr.decode(errors="replace"),
        exit_code=result.exit_code,
        limits=[limit.value for limit in result.limits],
    )


@ROUTER.post("/llama-cpp/")
async def ask_llama_cpp(body: SeedRequest, caller: ModelCaller, deps: Deps) -> SeedAnswer:
    """Asks a model of the embedded llama.cpp."""
    return await _ask_engine("llamacpp", body, caller, deps)


@ROUTER.post("/ollama/")
async def ask_ollama(body: SeedRequest, caller: ModelCaller, deps: Deps) -> SeedAnswer:
    """Asks a model of an Ollama on this machine."""
    return await _ask_engine("ollama", body, caller, deps)


@ROUTER.post("/query-model/")
async def query_model(body: SeedRequest, caller: ModelCaller, deps: Deps) -> SeedAnswer:
    """Asks the default model, or any that is named."""
    name = body.model
    if name is None:
        model = await deps.models.default()
        name = f"{model.engine}/{model.name}"
    return await _ask(name, body.cmd, caller, deps)


async def _ask_engine(name: str, body: SeedRequest, caller: Principal, deps: Services) -> SeedAnswer:
    engine = deps.models.engine(name)
    return await _ask(f"{name}/{body.model or await _first_model(engine)}", body.cmd, caller, deps)


async def _first_model(engine: Engine) -> str:
    models = await engine.models()
    if not models:
        raise UpstreamError(f"{engine.name} runs but has no model; pull one first.", status=503)
    return models[0].name


async def _ask(model: str, prompt: str, caller: Principal, deps: Services) -> SeedAnswer:
    request = RunRequest(model=model, messages=[ChatMessage("user", prompt)])
    text: list[str] = []

    async def emit(event: Event) -> None:
        text.append(event.text if isinstance(event, AnswerDelta) else "")

    await deps.agent.run(caller, request, emit)
    return SeedAnswer(output="".join(text))
