"""The models as Ollama's clients see, get and remove them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from lm_sandbox.errors import EngineUnavailable, NotFound, Unsupported
from lm_sandbox.models.engine import ModelState, PullProgress, Tell
from lm_sandbox.models.registry import LATEST, public_names
from lm_sandbox.surfaces.deps import AdminCaller, Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.generation import base_name
from lm_sandbox.surfaces.live import LiveResponse
from lm_sandbox.surfaces.ollama.errors import NDJSON, line, ollama_error
from lm_sandbox.surfaces.ollama.rows import listed, running, shown
from lm_sandbox.surfaces.ollama.wire import CopyIn, CreateIn, Named, PullIn
from lm_sandbox.surfaces.open_body import left_out
from lm_sandbox.surfaces.streams import Write, while_connected

ROUTER = APIRouter(tags=["ollama"], route_class=route_class(ollama_error))

# The level of Ollama's API that is spoken here; clients look at it before they use what is newer.
API_LEVEL = "0.12.11"
HUB_NAMES = ("hf.co/", "huggingface.co/")
HUB = "hf:"
HOW_TO_ADD = (
    "Models are made 'from' one that is there, or added: put a GGUF file into the folder of models, pull one "
    "(hf:owner/repo:quant), or set one up in the settings (llamacpp.models.NAME)."
)


@ROUTER.head("/", include_in_schema=False, response_class=PlainTextResponse)
@ROUTER.get("/", response_class=PlainTextResponse)
async def look() -> str:
    """Answers clients that look whether there is an Ollama."""
    return "Ollama is running"


@ROUTER.head("/api/version", include_in_schema=False)
@ROUTER.get("/api/version")
async def version(caller: ModelCaller) -> dict[str, str]:
    """Tells which level of Ollama's API this is."""
    del caller
    return {"version": API_LEVEL}


@ROUTER.head("/api/tags", include_in_schema=False)
@ROUTER.get("/api/tags")
async def tags(caller: ModelCaller, deps: Deps) -> dict[str, Any]:
    """Lists every model, each also as `NAME+bash`."""
    del caller
    return {"models": listed(await deps.models.models())}


@ROUTER.get("/api/ps")
async def loaded(caller: ModelCaller, deps: Deps) -> dict[str, Any]:
    """Lists what is loaded."""
    del caller
    models = await deps.models.models()
    now = datetime.now(UTC)
    rows = [
        running(await deps.models.engine(model.engine).show(model.name), name, now)
        for name, model in zip(public_names(models), models, strict=True)
        if model.state is ModelState.LOADED
    ]
    return {"models": rows}


@ROUTER.post("/api/show")
async def show(body: Named, caller: ModelCaller, deps: Deps) -> dict[str, Any]:
    """Tells what is known of a model."""
    del caller
    base = base_name(body.model)
    engine, model = await deps.models.resolve(base or body.model)
    return shown(await engine.show(model.name), body.model, with_shell=base is not None)


@ROUTER.post("/api/pull", response_model=None)
async def pull(body: PullIn, request: Request, caller: AdminCaller, deps: Deps) -> Response:
    """Gets a model from the Hugging Face hub, or through an Ollama; one that is broken off goes on later."""
    del caller
    headers = left_out(body.unknown())
    if body.stream is False:
        await while_connected(request, lambda: _pull(deps, body.model, _nobody))
        return JSONResponse({"status": "success"}, headers=headers)

    async def produce(write: Write) -> None:
        async def tell(progress: PullProgress) -> None:
            await write(line(step(progress)))

        await write(line({"status": "pulling manifest"}))
        await _pull(deps, body.model, tell)
        await write(line({"status": "success"}))

    return LiveResponse(produce, NDJSON, headers)


@ROUTER.delete("/api/delete", status_code=200)
async def remove(body: Named, caller: AdminCaller, deps: Deps) -> Response:
    """Deletes the files of a model."""
    del caller
    engine, model = await deps.models.resolve(body.model)
    await engine.remove(model.name)
    return Response(status_code=200)


@ROUTER.post("/api/copy")
async def copy(body: CopyIn, caller: AdminCaller, deps: Deps) -> Response:
    """Gives a model a second name."""
    del caller
    await _copy(deps, body.source, body.destination)
    return Response(status_code=200)


@ROUTER.post("/api/create", response_model=None)
async def create(body: CreateIn, caller: AdminCaller, deps: Deps) -> Response:
    """Makes a model `from` another, without any change; how others are added, it says."""
    del caller
    body.refuse_changes()
    if body.from_ is None:
        raise Unsupported(HOW_TO_ADD)
    await _copy(deps, body.from_, body.model)
    if body.stream is False:
        return JSONResponse({"status": "success"}, headers=left_out(body.unknown()))
    return Response(line({"status": "success"}), media_type=NDJSON.media_type)


@ROUTER.post("/api/push")
async def push(caller: AdminCaller) -> Response:
    """Refuses: nothing is published from here."""
    del caller
    raise Unsupported("Models are not pushed from here.")


@ROUTER.head("/api/blobs/{digest}", include_in_schema=False)
@ROUTER.post("/api/blobs/{digest}")
async def blob(digest: str, caller: AdminCaller) -> Response:
    """Refuses: files for `create` are not taken."""
    del digest, caller
    raise Unsupported(HOW_TO_ADD)


@ROUTER.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
async def unknown(path: str) -> Response:
    """Answers for what Ollama may have and this has not."""
    raise NotFound(f"There is no /api/{path} here; /docs lists what there is.")


def step(progress: PullProgress) -> dict[str, object]:
    """Writes how far a pull is; clients tell files apart by their digests."""
    content: dict[str, object] = {"status": progress.status}
    if progress.total:
        digest = hashlib.sha256(progress.status.encode()).hexdigest()
        content |= {"digest": f"sha256:{digest}", "total": progress.total}
        content |= {"completed": progress.completed} if progress.completed else {}
    return content


async def _copy(deps: Services, source: str, name: str) -> None:
    engine, model = await deps.models.resolve(source)
    await engine.copy(model.name, name.removesuffix(LATEST))


async def _pull(deps: Services, name: str, tell: Tell) -> None:
    """Lets the engine pull that knows such names."""
    for prefix in HUB_NAMES:
        if name.startswith(prefix):
            name = HUB + name.removeprefix(prefix)
    if name.startswith(HUB):
        await deps.models.engine("llamacpp").pull(name, tell)
        return
    try:
        engine, model = await deps.models.resolve(base_name(name) or name)
    except NotFound:
        await _pull_new(deps, name, tell)
        return
    if engine.name == "ollama":
        await engine.pull(model.name, tell)


async def _pull_new(deps: Services, name: str, tell: Tell) -> None:
    ollama = deps.models.engine("ollama")
    try:
        await ollama.models()
    except EngineUnavailable:
        # A name of the settings, or it says what a source looks like.
        await deps.models.engine("llamacpp").pull(name, tell)
    else:
        await ollama.pull(name, tell)


async def _nobody(progress: PullProgress) -> None:
    del progress
