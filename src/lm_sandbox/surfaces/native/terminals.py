"""/v1/sandboxes/{id}/terminals: open, list, look at, resize and close terminals."""

from typing import Annotated

from fastapi import APIRouter, Query

from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.terminal_schemas import (
    TerminalCreate,
    TerminalList,
    TerminalOut,
    TerminalPatch,
)

ROUTER = APIRouter(
    prefix="/v1/sandboxes/{sandbox_id}/terminals", tags=["terminals"], route_class=route_class(problem)
)


@ROUTER.post("", status_code=201)
async def open_terminal(
    sandbox_id: str, body: TerminalCreate, caller: SandboxCaller, deps: Deps
) -> TerminalOut:
    """Opens a terminal; it goes on whether somebody looks at it or not."""
    return TerminalOut.of(await deps.terminals.open(caller, sandbox_id, body.to_new()))


@ROUTER.get("")
async def list_terminals(
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> TerminalList:
    """Lists the terminals that are open and the last that ended, oldest first."""
    page, more = deps.terminals.page(caller, sandbox_id, after=after, limit=limit)
    rendered = [TerminalOut.of(terminal) for terminal in page]
    return TerminalList(data=rendered, next_after=page[-1].id if more else None)


@ROUTER.get("/{terminal_id}")
async def get_terminal(sandbox_id: str, terminal_id: str, caller: SandboxCaller, deps: Deps) -> TerminalOut:
    """Tells how a terminal stands."""
    return TerminalOut.of(deps.terminals.find(caller, sandbox_id, terminal_id))


@ROUTER.patch("/{terminal_id}")
async def resize_terminal(
    sandbox_id: str, terminal_id: str, body: TerminalPatch, caller: SandboxCaller, deps: Deps
) -> TerminalOut:
    """Changes the size for everybody; the program is told by SIGWINCH."""
    terminal = deps.terminals.find(caller, sandbox_id, terminal_id)
    await terminal.resize(body.to_size())
    return TerminalOut.of(terminal)


@ROUTER.delete("/{terminal_id}", status_code=204)
async def close_terminal(sandbox_id: str, terminal_id: str, caller: SandboxCaller, deps: Deps) -> None:
    """Ends the program with all that it started, and forgets the terminal."""
    await deps.terminals.close(caller, sandbox_id, terminal_id)
