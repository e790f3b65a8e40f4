"""/v1/sandboxes: make, list, look at, change, halt and delete."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from lm_sandbox.sandboxes.driver import RunState
from lm_sandbox.sandboxes.sandbox import SandboxState, Selection
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.metadata import WantedMetadata
from lm_sandbox.surfaces.native.schemas import (
    SandboxCreate,
    SandboxList,
    SandboxOut,
    SandboxPatch,
    StatsOut,
)

ROUTER = APIRouter(prefix="/v1/sandboxes", tags=["sandboxes"], route_class=route_class(problem))


async def get_selection(
    metadata: WantedMetadata, name: str | None = None, state: SandboxState | None = None
) -> Selection:
    """Reads which sandboxes are asked for."""
    return Selection(name, state, metadata)


@ROUTER.post("", status_code=201)
async def create_sandbox(body: SandboxCreate, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Makes an isolated sandbox without network; `{}` takes every default."""
    new = body.to_new(deps.sandboxes.default_limits())
    return SandboxOut.of(await deps.sandboxes.create(caller, new))


@ROUTER.get("")
async def list_sandboxes(
    caller: SandboxCaller,
    deps: Deps,
    chosen: Annotated[Selection, Depends(get_selection)],
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> SandboxList:
    """Lists your sandboxes, oldest first."""
    page, more = await deps.sandboxes.page(caller, after=after, limit=limit, selection=chosen)
    rendered = [SandboxOut.of(sandbox) for sandbox in page]
    return SandboxList(data=rendered, next_after=page[-1].id if more else None)


@ROUTER.get("/{sandbox_id}")
async def get_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Tells the state of a sandbox and what holds it."""
    return SandboxOut.of(deps.sandboxes.get(caller, sandbox_id))


@ROUTER.delete("/{sandbox_id}", status_code=204)
async def delete_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> None:
    """Ends everything in a sandbox and removes it."""
    await deps.sandboxes.delete(caller, sandbox_id)


@ROUTER.patch("/{sandbox_id}")
async def change_sandbox(
    sandbox_id: str, body: SandboxPatch, caller: SandboxCaller, deps: Deps
) -> SandboxOut:
    """Changes name, metadata, times, limits or egress; connections not allowed any more end at once."""
    return SandboxOut.of(await deps.sandboxes.change(caller, sandbox_id, body.to_change()))


@ROUTER.post("/{sandbox_id}/pause")
async def pause_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Halts every process where it stands; no CPU time is used until `resume`."""
    return SandboxOut.of(await deps.sandboxes.set_state(caller, sandbox_id, RunState.PAUSED))


@ROUTER.post("/{sandbox_id}/resume")
async def resume_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Lets a paused or stopped sandbox run again."""
    return SandboxOut.of(await deps.sandboxes.set_state(caller, sandbox_id, RunState.RUNNING))


@ROUTER.post("/{sandbox_id}/stop")
async def stop_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Ends every process and keeps the files."""
    return SandboxOut.of(await deps.sandboxes.set_state(caller, sandbox_id, RunState.STOPPED))


@ROUTER.post("/{sandbox_id}/start")
async def start_sandbox(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Lets a stopped or paused sandbox run again."""
    return SandboxOut.of(await deps.sandboxes.set_state(caller, sandbox_id, RunState.RUNNING))


@ROUTER.get("/{sandbox_id}/stats")
async def sandbox_stats(sandbox_id: str, caller: SandboxCaller, deps: Deps) -> StatsOut:
    """Tells what a sandbox uses now."""
    return StatsOut.of(await deps.sandboxes.stats(caller, sandbox_id))
