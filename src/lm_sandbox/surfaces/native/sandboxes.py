"""/v1/sandboxes: make, list, look at, delete, and run commands."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.schemas import (
    CommandCreate,
    CommandOut,
    SandboxCreate,
    SandboxList,
    SandboxOut,
)
from lm_sandbox.surfaces.streams import while_connected

ROUTER = APIRouter(prefix="/v1/sandboxes", tags=["sandboxes"], route_class=route_class(problem))


@ROUTER.post("", status_code=201)
async def create_sandbox(body: SandboxCreate, caller: SandboxCaller, deps: Deps) -> SandboxOut:
    """Makes an isolated sandbox without network; `{}` takes every default."""
    new = body.to_new(deps.sandboxes.default_limits())
    return SandboxOut.of(await deps.sandboxes.create(caller, new))


@ROUTER.get("")
async def list_sandboxes(
    caller: SandboxCaller,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> SandboxList:
    """Lists your sandboxes, oldest first."""
    page, more = deps.sandboxes.page(caller, after=after, limit=limit)
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


@ROUTER.post("/{sandbox_id}/commands")
async def run_command(
    sandbox_id: str, body: CommandCreate, caller: SandboxCaller, deps: Deps, request: Request
) -> CommandOut:
    """Runs a command to its end; closing the connection kills it."""
    new = body.to_new()
    result = await while_connected(request, lambda: deps.sandboxes.run(caller, sandbox_id, new))
    return CommandOut.of(result)
