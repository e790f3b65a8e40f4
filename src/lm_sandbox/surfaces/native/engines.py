"""/v1/engines: what serves models, and what each model is; an admin loads, unloads, pulls and removes."""

from dataclasses import asdict
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Path, Response

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.models.engine import PullProgress
from lm_sandbox.models.hardware import read_hardware
from lm_sandbox.surfaces.deps import AdminCaller, Deps, ModelCaller
from lm_sandbox.surfaces.errors import failure_of, problem, route_class
from lm_sandbox.surfaces.native.engine_schemas import (
    EngineList,
    EngineOut,
    HardwareOut,
    ModelDetailOut,
    ModelLoad,
    ModelPull,
    ModelUnload,
)
from lm_sandbox.surfaces.streams import PushResponse, Write, sse

ROUTER = APIRouter(prefix="/v1", tags=["engines"], route_class=route_class(problem))

Name = Annotated[str, Path(min_length=1, max_length=256)]


@ROUTER.get("/engines")
async def list_engines(caller: ModelCaller, deps: Deps) -> EngineList:
    """Lists the engines with their models; one that does not answer says why and what to do."""
    del caller
    return EngineList(data=[EngineOut.of(engine) for engine in await deps.models.engines()])


@ROUTER.get("/hardware")
async def show_hardware(caller: ModelCaller) -> HardwareOut:
    """Tells the processor, memory and GPUs that models can have."""
    del caller
    return HardwareOut.of(await anyio.to_thread.run_sync(read_hardware))


@ROUTER.get("/engines/{engine}/models/{name:path}")
async def show_model(engine: Name, name: Name, caller: ModelCaller, deps: Deps) -> ModelDetailOut:
    """Tells what is known of a model, and on which devices it is or would be loaded."""
    del caller
    return ModelDetailOut.of_detail(await deps.models.engine(engine).show(name))


@ROUTER.delete("/engines/{engine}/models/{name:path}", status_code=204)
async def remove_model(engine: Name, name: Name, caller: AdminCaller, deps: Deps) -> None:
    """Deletes the files of a model."""
    del caller
    await deps.models.engine(engine).remove(name)


@ROUTER.post("/engines/{engine}/load", status_code=204)
async def load_model(engine: Name, body: ModelLoad, caller: AdminCaller, deps: Deps) -> None:
    """Loads a model ahead, and may keep it for longer than is usual."""
    del caller
    await deps.models.engine(engine).load(body.model, body.kept_s)


@ROUTER.post("/engines/{engine}/unload", status_code=204)
async def unload_model(engine: Name, body: ModelUnload, caller: AdminCaller, deps: Deps) -> None:
    """Frees the memory of a model when the requests that use it are done."""
    del caller
    await deps.models.engine(engine).unload(body.model)


@ROUTER.post("/engines/{engine}/pull", response_class=Response)
async def pull_model(engine: Name, body: ModelPull, caller: AdminCaller, deps: Deps) -> Response:
    """Gets a model: `progress` events, then `done` or `error`. A pull that is broken off goes on later."""
    del caller
    chosen = deps.models.engine(engine)

    async def produce(write: Write) -> None:
        async def tell(progress: PullProgress) -> None:
            await write(sse(asdict(progress), "progress"))

        try:
            await chosen.pull(body.source, tell)
        except LmSandboxError as error:
            failure = failure_of(error)
            await write(sse({"code": failure.code, "detail": failure.message}, "error"))
        else:
            await write(sse({}, "done"))

    return PushResponse(produce)
