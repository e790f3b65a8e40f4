"""/v1/containers."""

from typing import Annotated

from fastapi import APIRouter, Query

from lm_sandbox.sandboxes.sandbox import Sandbox, SandboxState
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.openai.containers.making import make_container
from lm_sandbox.surfaces.openai.containers.schemas import (
    NAME_KEY,
    ContainerCreate,
    container_body,
    container_name,
)
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.paging import After, Limit, Order, list_body

ROUTER = APIRouter(prefix="/v1/containers", tags=["openai"], route_class=route_class(openai_error))
PAGE = 500


@ROUTER.post("")
async def create_container(body: ContainerCreate, caller: SandboxCaller, deps: Deps) -> dict[str, object]:
    """Makes a container: a sandbox, with the files and skills that are named."""
    return container_body(await make_container(body, {NAME_KEY: body.name}, body.lifetime(), caller, deps))


@ROUTER.get("")
async def list_containers(  # noqa: PLR0913, PLR0917 - what may stand in the query
    caller: SandboxCaller,
    deps: Deps,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
    name: Annotated[str | None, Query()] = None,
) -> dict[str, object]:
    """Lists your containers, the newest first."""
    found: list[Sandbox] = []
    last: str | None = None
    more = True
    while more:
        page, more = deps.sandboxes.page(caller, after=last, limit=PAGE)
        found += page
        last = page[-1].id if page else None
    wanted = [sandbox for sandbox in found if name in {None, container_name(sandbox)}]
    wanted = [sandbox for sandbox in wanted if sandbox.state is not SandboxState.FAILED]
    if order == "desc":
        wanted.reverse()
    start = next((place for place, sandbox in enumerate(wanted, 1) if sandbox.id == after), 0)
    data = [container_body(sandbox) for sandbox in wanted[start : start + limit]]
    return list_body(data, more=len(wanted) > start + limit)


@ROUTER.get("/{container_id}")
async def show_container(container_id: str, caller: SandboxCaller, deps: Deps) -> dict[str, object]:
    """Shows a container."""
    return container_body(deps.sandboxes.get(caller, container_id))


@ROUTER.delete("/{container_id}")
async def delete_container(container_id: str, caller: SandboxCaller, deps: Deps) -> dict[str, object]:
    """Deletes a container with all that is in it."""
    await deps.sandboxes.delete(caller, container_id)
    return {"id": container_id, "object": "container.deleted", "deleted": True}
