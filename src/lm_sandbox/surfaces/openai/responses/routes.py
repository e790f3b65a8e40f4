"""/v1/responses: make them, at once, as a stream or in the background, and come back to them."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.errors import Conflict
from lm_sandbox.surfaces.deps import Deps, ModelCaller
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.paging import After, Limit, Order, list_body
from lm_sandbox.surfaces.openai.responses.compaction import compact
from lm_sandbox.surfaces.openai.responses.preparing import count_tokens, prepare
from lm_sandbox.surfaces.openai.responses.schemas import ResponseCreate, TokenCount
from lm_sandbox.surfaces.runs.draft import Body, result_of
from lm_sandbox.surfaces.runs.record import input_items, response_body
from lm_sandbox.surfaces.streams import EventStream, Write, while_connected
from lm_sandbox.surfaces.unforced import unforced_headers

ROUTER = APIRouter(prefix="/v1/responses", tags=["openai"], route_class=route_class(openai_error))
TOOLS_LEFT_OUT = "x-lm-sandbox-tools-left-out"
FIELDS_LEFT_OUT = "x-lm-sandbox-fields-left-out"


@ROUTER.post("", response_model=None)
async def create_response(
    body: ResponseCreate, request: Request, caller: ModelCaller, deps: Deps
) -> Response:
    """Runs the model; with `tools: [{"type": "shell"}]` it may run commands in a sandbox.

    `container_auto` (the default) makes a sandbox, or keeps that of the previous response;
    `container_reference` takes an existing one; with `local` the client runs the commands itself. With
    `require_approval: "always"` each command waits for an `mcp_approval_response`.
    """
    making = await prepare(body, caller, deps)
    answer: Response
    if body.background:
        await making.start_in_background()
        log = making.log.follow()
        answer = _stream(log) if body.stream else JSONResponse(making.draft.body())
    elif body.stream:

        async def produce(write: Write) -> None:
            await making.make(lambda event: write(_sse(event)))

        answer = EventStream(produce)
    else:
        await while_connected(request, making.make)
        result_of(making.draft)
        told = unforced_headers(unforced=making.draft.unforced)
        answer = JSONResponse(making.draft.body(), headers=told)
    return _with_left_out(answer, body)


@ROUTER.post("/input_tokens")
async def count_input_tokens(
    body: TokenCount, request: Request, caller: ModelCaller, deps: Deps
) -> dict[str, object]:
    """Counts what a response would begin with, by the model's own template and tokenizer."""
    if not body.model:
        default = await deps.models.default()
        body.model = f"{default.engine}/{default.name}"
    tokens = await while_connected(request, lambda: count_tokens(body, caller, deps))
    return {"object": "response.input_tokens", "input_tokens": tokens}


@ROUTER.post("/compact")
async def compact_conversation(
    body: ResponseCreate, request: Request, caller: ModelCaller, deps: Deps
) -> Body:
    """Makes a conversation short: the user's messages, and a summary by the model of all the rest."""
    return await while_connected(request, lambda: compact(body, caller, deps))


@ROUTER.get("")
async def list_responses(
    caller: ModelCaller, deps: Deps, after: After = None, limit: Limit = 20
) -> dict[str, object]:
    """Lists your stored responses, the newest first."""
    heads, more = await deps.runs.page(caller, after, limit)
    return list_body([response_body(head) for head in heads], more=more)


@ROUTER.get("/{response_id}", response_model=None)
async def show_response(
    response_id: str,
    caller: ModelCaller,
    deps: Deps,
    stream: Annotated[bool, Query(description="send its events, those to come too (SSE)")] = False,
    starting_after: Annotated[int, Query(ge=-1, description="with stream: only what follows this")] = -1,
) -> Response:
    """Shows a stored response, or streams what has happened in it and what happens still."""
    # Before its record: one that ends in between has left a log that ends, and a record that says so.
    log = deps.background.log(response_id)
    record = await deps.runs.find(caller, response_id)
    if not stream:
        return JSONResponse(response_body(record))
    if log is not None:
        return _stream(log.follow(starting_after))
    if record.running:
        raise Conflict("Another process of this server makes this response; ask again when it has ended.")
    return _stream(_replay(record.events[starting_after + 1 :]))


@ROUTER.delete("/{response_id}")
async def delete_response(response_id: str, caller: ModelCaller, deps: Deps) -> dict[str, object]:
    """Forgets a stored response; one in the background is ended."""
    await deps.runs.find(caller, response_id)
    await deps.background.cancel(response_id)
    await deps.runs.delete(caller, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@ROUTER.post("/{response_id}/cancel")
async def cancel_response(response_id: str, caller: ModelCaller, deps: Deps) -> Body:
    """Ends a response in the background; one that has ended stays as it is."""
    record = await deps.runs.find(caller, response_id)
    if not response_body(record)["background"]:
        raise Conflict("Only a response in the background can be cancelled; close the connection instead.")
    await deps.background.cancel(response_id)
    return response_body(await deps.runs.find(caller, response_id))


@ROUTER.get("/{response_id}/input_items")
async def list_input_items(  # noqa: PLR0913, PLR0917 - what may stand in the query
    response_id: str,
    caller: ModelCaller,
    deps: Deps,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> dict[str, object]:
    """Lists what a response was made from, the latest first."""
    items = input_items(await deps.runs.find(caller, response_id))
    if order == "desc":
        items.reverse()
    start = next((place for place, item in enumerate(items, 1) if item["id"] == after), 0)
    return list_body(items[start : start + limit], more=len(items) > start + limit)


def _stream(events: AsyncIterator[str]) -> EventStream:
    async def produce(write: Write) -> None:
        async for event in events:
            await write(_sse(event))

    return EventStream(produce)


async def _replay(events: Sequence[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


def _sse(event: str) -> bytes:
    return f"event: {json.loads(event)['type']}\ndata: {event}\n\n".encode(errors="replace")


def _with_left_out(answer: Response, body: ResponseCreate) -> Response:
    for header, names in ((TOOLS_LEFT_OUT, body.left_out()), (FIELDS_LEFT_OUT, body.fields_left_out())):
        # Names that a client made up have no place in a header.
        if plain := [name for name in names if name.isascii() and name.isprintable()]:
            answer.headers[header] = ", ".join(plain)[:1000]
    return answer
