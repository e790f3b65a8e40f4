"""/v1/sandboxes/{id}/commands: run, start, follow, feed, signal and end commands."""

from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.command_schemas import (
    CommandCreate,
    CommandDetail,
    CommandInfo,
    CommandList,
    CommandOut,
    Encoding,
    InputCreate,
    SignalCreate,
)
from lm_sandbox.surfaces.native.output_events import Write, write_events
from lm_sandbox.surfaces.streams import PushResponse, while_connected

ROUTER = APIRouter(
    prefix="/v1/sandboxes/{sandbox_id}/commands", tags=["commands"], route_class=route_class(problem)
)
MOST_WAIT_S = 60
Responses = dict[int | str, dict[str, Any]]
EVENTS: Responses = {200: {"content": {"text/event-stream": {}}}}
BYTES: Responses = {200: {"content": {"application/octet-stream": {}}}}


async def find_command(sandbox_id: str, command_id: str, caller: SandboxCaller, deps: Deps) -> Command:
    """Finds the command that the path names.

    Raises:
        SandboxNotFound: the caller has no such sandbox.
        Gone: the sandbox was deleted.
        CommandNotFound: it has no such command, or forgot it.
    """
    return deps.sandboxes.command(caller, sandbox_id, command_id)


Found = Annotated[Command, Depends(find_command)]


@ROUTER.post("", response_model=CommandOut, responses={201: {"model": CommandDetail}, **EVENTS})
async def run_command(
    sandbox_id: str, body: CommandCreate, caller: SandboxCaller, deps: Deps, request: Request
) -> CommandOut | Response:
    """Runs a command to its end; closing the connection ends it with all that it started.

    With `stream` the answer is its output as server-sent events, with `background` it comes at once
    (201) and the command goes on by itself. With `checkpoint` the answer names a snapshot of the files as
    they were before: `changes?since=` tells what the command did to them, `restore` undoes it.
    """
    checkpoint = (await deps.snapshots.create(caller, sandbox_id, None)).id if body.checkpoint else None
    new = body.to_new(checkpoint)
    if body.background:
        command = await deps.sandboxes.start(caller, sandbox_id, new)
        detail = CommandDetail.of_command(command, await command.captured(), body.encoding)
        return JSONResponse(detail.model_dump(mode="json"), 201)
    if body.stream:
        command = await deps.sandboxes.start(caller, sandbox_id, new)
        return PushResponse(partial(attended, command, body.encoding))
    result = await while_connected(request, lambda: deps.sandboxes.run(caller, sandbox_id, new))
    return CommandOut.of(result, body.encoding, checkpoint)


@ROUTER.get("")
async def list_commands(
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> CommandList:
    """Lists the commands that run and the last that ended, oldest first."""
    page, more = deps.sandboxes.commands(caller, sandbox_id, after=after, limit=limit)
    rendered = [CommandInfo.of(command) for command in page]
    return CommandList(data=rendered, next_after=page[-1].id if more else None)


@ROUTER.get("/{command_id}")
async def get_command(
    command: Found,
    wait_s: Annotated[float, Query(ge=0, le=MOST_WAIT_S)] = 0,
    encoding: Encoding = Encoding.UTF8,
) -> CommandDetail:
    """Tells how a command stands, after waiting for its end for at most `wait_s`."""
    if wait_s:
        await command.wait(wait_s)
    return CommandDetail.of_command(command, await command.captured(), encoding)


@ROUTER.delete("/{command_id}", status_code=204)
async def end_command(command: Found) -> None:
    """Ends a command with all that it started; one that has ended stays as it is."""
    await command.end()


@ROUTER.get("/{command_id}/output", responses=EVENTS, response_class=Response)
async def follow_output(
    command: Found,
    after: Annotated[int, Query(ge=0)] = 0,
    encoding: Encoding = Encoding.UTF8,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> Response:
    """Follows the output from the byte number `after` on, to the command's end.

    Events: `output` with stream, offset in that stream and data; at last `exit` or `error`. The id of
    an event goes into `after`, or into Last-Event-ID, to go on behind it.
    """
    start = after if last_event_id is None else last_event_id
    return PushResponse(partial(write_events, command, start, encoding))


@ROUTER.get("/{command_id}/{stream}", responses=BYTES, response_class=Response)
async def read_output(command: Found, stream: Stream) -> Response:
    """Gives all the bytes of one stream as they are, to the command's end."""

    async def produce(write: Write) -> None:
        async for chunk in command.log.follow():
            if chunk.stream is stream:
                await write(chunk.data)

    return PushResponse(produce, media_type="application/octet-stream")


@ROUTER.post("/{command_id}/stdin", status_code=204)
async def feed_command(command: Found, body: InputCreate) -> None:
    """Writes to the input of a command that was started with `keep_stdin_open`."""
    await command.feed(body.encoding.read(body.data, "data"), end=body.end)


@ROUTER.post("/{command_id}/signal", status_code=204)
async def signal_command(command: Found, body: SignalCreate) -> None:
    """Sends a signal to the process group of a running command."""
    await command.signal(body.number())


async def attended(command: Command, encoding: Encoding, write: Write) -> None:
    """Follows a command that ends with its client."""
    try:
        await write_events(command, 0, encoding, write)
    finally:
        with anyio.CancelScope(shield=True):
            await command.end()
