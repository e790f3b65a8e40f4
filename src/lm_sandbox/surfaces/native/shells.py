"""/v1/sandboxes/{id}/shells: shells that stay, and the commands that run in them."""

from datetime import datetime
from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.sandbox import NewCommand
from lm_sandbox.sandboxes.shell import Shell, Survival
from lm_sandbox.sandboxes.shells import NewShell
from lm_sandbox.sandboxes.user import User
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.command_schemas import CommandDetail, CommandOut, Encoding
from lm_sandbox.surfaces.native.commands import EVENTS, attended
from lm_sandbox.surfaces.native.schemas import ABOUT_USER, Body, Env, Folder, Text
from lm_sandbox.surfaces.streams import PushResponse, while_connected

ROUTER = APIRouter(
    prefix="/v1/sandboxes/{sandbox_id}/shells", tags=["shells"], route_class=route_class(problem)
)


class ShellCreate(Body):
    """A new shell."""

    cwd: Folder = "/workspace"
    env: Env = Field(default_factory=dict)
    user: User = Field(User.SANDBOX, description=ABOUT_USER)


class ShellOut(BaseModel):
    """A bash that stays: folders, variables and functions survive from one command to the next."""

    id: str
    cwd: str = Field(description="the folder that it is in")
    busy: bool = Field(description="whether a command runs in it")
    created_at: datetime

    @classmethod
    def of(cls, shell: Shell) -> Self:
        """Renders a shell."""
        return cls(id=shell.id, cwd=shell.cwd, busy=shell.busy, created_at=shell.created_at)


class ShellList(BaseModel):
    """A page of shells; `next_after` goes into `after` for the next one."""

    data: list[ShellOut]
    next_after: str | None


class ShellRunCreate(Body):
    """A command for a shell."""

    command: Text = Field(examples=["cd /tmp && export NAME=value"])
    timeout_s: float | None = Field(None, gt=0, description="wall time, in seconds")
    background: bool = Field(False, description="answer at once; it goes on by itself")
    stream: bool = Field(False, description="answer with server-sent events as it writes")
    encoding: Encoding = Field(Encoding.UTF8, description="of the output")


class ShellRunOut(CommandOut):
    """How a command in a shell ended."""

    cwd: str = Field(description="the folder that the shell is in now")
    shell: Survival = Field(
        description="kept: the same bash goes on; restored: it ended, and the next command gets one that "
        "knows what it knew; lost: it could not tell, and the next one starts anew in the same folder"
    )

    @classmethod
    def of_run(cls, shell: Shell, result: CommandResult, encoding: Encoding) -> Self:
        """Renders a result."""
        told = CommandOut.of(result, encoding).model_dump()
        return cls(**told, cwd=shell.cwd, shell=shell.survival())


async def find_shell(sandbox_id: str, shell_id: str, caller: SandboxCaller, deps: Deps) -> Shell:
    """Finds the shell that the path names.

    Raises:
        SandboxNotFound: the caller has no such sandbox.
        Gone: the sandbox was deleted.
        ShellNotFound: it has no such shell.
    """
    return deps.shells.find(caller, sandbox_id, shell_id)


Found = Annotated[Shell, Depends(find_shell)]


@ROUTER.post("", status_code=201)
async def create_shell(sandbox_id: str, body: ShellCreate, caller: SandboxCaller, deps: Deps) -> ShellOut:
    """Starts a bash that stays; `{}` takes every default."""
    return ShellOut.of(await deps.shells.open(caller, sandbox_id, NewShell(body.cwd, body.env, body.user)))


@ROUTER.get("")
async def list_shells(
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ShellList:
    """Lists the shells of a sandbox, oldest first."""
    page, more = deps.shells.page(caller, sandbox_id, after=after, limit=limit)
    return ShellList(data=[ShellOut.of(shell) for shell in page], next_after=page[-1].id if more else None)


@ROUTER.get("/{shell_id}")
async def get_shell(shell: Found) -> ShellOut:
    """Tells how a shell stands."""
    return ShellOut.of(shell)


@ROUTER.delete("/{shell_id}", status_code=204)
async def delete_shell(sandbox_id: str, shell: Found, caller: SandboxCaller, deps: Deps) -> None:
    """Ends a shell with all that it started."""
    await deps.shells.close(caller, sandbox_id, shell)


@ROUTER.post(
    "/{shell_id}/run", response_model=ShellRunOut, responses={201: {"model": CommandDetail}, **EVENTS}
)
async def run_in_shell(  # noqa: PLR0913, PLR0917 - what FastAPI gives
    sandbox_id: str, shell: Found, body: ShellRunCreate, caller: SandboxCaller, deps: Deps, request: Request
) -> ShellRunOut | Response:
    """Runs a command in the shell, after those that were sent before.

    Closing the connection ends it with all that it started. With `stream` the answer is its output as
    server-sent events, with `background` it comes at once (201) and the command goes on by itself; both
    are commands of the sandbox, under its `commands`.
    """
    new = NewCommand(command=body.command, timeout_s=body.timeout_s, lasting=body.background)
    if body.background or body.stream:
        command = await deps.shells.start(caller, sandbox_id, shell, new)
        if body.stream:
            return PushResponse(partial(attended, command, body.encoding))
        detail = CommandDetail.of_command(command, await command.captured(), body.encoding)
        return JSONResponse(detail.model_dump(mode="json"), 201)
    result = await while_connected(request, lambda: deps.shells.run(caller, sandbox_id, shell, new))
    return ShellRunOut.of_run(shell, result, body.encoding)
