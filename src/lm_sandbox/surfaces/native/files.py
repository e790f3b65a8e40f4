"""/v1/sandboxes/{id}/files and /archive: everything that can be done with a sandbox's files."""

import re
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BeforeValidator
from starlette.convertors import PathConvertor, register_url_convertor

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.editing import edit_file
from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.files import FileQuery, SandboxFiles
from lm_sandbox.surfaces.deps import Deps, SandboxCaller, Services
from lm_sandbox.surfaces.errors import failure_of, problem, route_class
from lm_sandbox.surfaces.native.file_schemas import (
    ArchiveOut,
    ChangeBody,
    EditBody,
    FileEventOut,
    FileList,
    FileOut,
    Limit,
    Mode,
    SearchBody,
    SearchOut,
    mode_of,
    unquoted,
)
from lm_sandbox.surfaces.native.transfers import (
    BINARY,
    check_room,
    file_headers,
    file_response,
    receive_body,
    stream_response,
)
from lm_sandbox.surfaces.streams import PushResponse, Write, sse, while_connected


class AnyConvertor(PathConvertor):
    """Also takes line ends, which a file's name may have."""

    regex = r"(?s:.*)"


register_url_convertor("any", AnyConvertor())
ROUTER = APIRouter(prefix="/v1/sandboxes/{sandbox_id}", tags=["files"], route_class=route_class(problem))
# What is sent to these goes to the sandbox's disk as it comes, which bounds it.
STREAMED = re.compile(r"PUT /v1/sandboxes/[^/]+/(files/.*|archive)", re.DOTALL)
IN_URL = re.compile(rb"/v1/sandboxes/[^/]+/files/(.*)", re.DOTALL)
BYTES = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
RAW = {"requestBody": {"required": True, "content": BYTES}}
SENT: dict[int | str, dict[str, Any]] = {
    200: {"content": BYTES, "description": "The content"},
    206: {"description": "A range of it"},
}


async def path_in_url(request: Request) -> FilePath:
    """Reads the path as it was sent: what frameworks make of it loses bytes that are no UTF-8.

    Raises:
        Invalid: no file can have this path.
    """
    found = IN_URL.search(request.scope["raw_path"])
    return file_path("/" + unquoted(found[1].decode("latin-1") if found else ""))


UrlPath = Annotated[FilePath, Depends(path_in_url)]
# `?list` alone means that it is wanted.
Flag = Annotated[bool, BeforeValidator(lambda value: True if value == "" else value)]


@ROUTER.post("/files/edit")
async def edit(sandbox_id: str, body: EditBody, caller: SandboxCaller, deps: Deps) -> FileOut:
    """Replaces text that is in the file exactly as often as expected; else nothing is changed."""
    async with deps.sandboxes.files(caller, sandbox_id) as files:
        return FileOut.of(await edit_file(files, body.to_edit()))


@ROUTER.post("/files/search")
async def search(
    sandbox_id: str, body: SearchBody, caller: SandboxCaller, deps: Deps, request: Request
) -> SearchOut:
    """Finds files by their paths, or lines in them; closing the connection ends it."""
    async with deps.sandboxes.files(caller, sandbox_id) as files:
        if body.pattern is None:
            query = body.to_files()
            found = await while_connected(request, lambda: files.list(query))
            return SearchOut.of_files(found, query.path)
        lines = body.to_lines(body.pattern)
        return SearchOut.of_lines(await while_connected(request, lambda: files.grep(lines)))


@ROUTER.get("/files/{path:any}", response_model=None, responses=SENT)
async def get_file(  # noqa: PLR0913, PLR0917 - what may stand in the query
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    request: Request,
    path: UrlPath,
    stat: Annotated[Flag, Query(description="describe it, a link as the link")] = False,
    list: Annotated[Flag, Query(description="list the folder")] = False,  # noqa: A002 - the wire's name
    watch: Annotated[Flag, Query(description="send changes in the folder as they happen (SSE)")] = False,
    recursive: Annotated[Flag, Query(description="with list or watch: folders in it too")] = False,
    after: Annotated[str | None, Query(description="with list: the page before's next_after")] = None,
    limit: Annotated[Limit, Query(description="with list: entries in one page")] = 100,
) -> Response | FileOut | FileList:
    """Sends a file or a range of it; or describes, lists or watches with `?stat`, `?list`, `?watch`."""
    if list:
        query = FileQuery(path, limit, recursive=recursive, after=unquoted(after or ""))
        async with deps.sandboxes.files(caller, sandbox_id) as files:
            return FileList.of(await while_connected(request, lambda: files.list(query)), path)
    if watch:
        return await _watch(deps, caller, sandbox_id, path, recursive=recursive)
    if stat:
        async with deps.sandboxes.files(caller, sandbox_id) as files:
            return FileOut.of(await files.stat(path))
    return await _download(deps, caller, sandbox_id, path, request)


@ROUTER.head("/files/{path:any}")
async def head_file(sandbox_id: str, caller: SandboxCaller, deps: Deps, path: UrlPath) -> Response:
    """Tells a file's size, time and tag."""
    async with deps.sandboxes.files(caller, sandbox_id) as files, files.read(path) as reader:
        return Response(media_type=BINARY, headers=file_headers(reader.info))


@ROUTER.put("/files/{path:any}", openapi_extra=RAW)
async def put_file(  # noqa: PLR0913, PLR0917 - what may stand in the query
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    request: Request,
    response: Response,
    path: UrlPath,
    mode: Annotated[Mode | None, Query(description="permission bits; else it keeps what it has")] = None,
    append: Annotated[Flag, Query(description="add at the end, as it comes")] = False,
) -> FileOut:
    """Writes the body to a file: all of it at once or nothing; makes folders that are missing."""
    async with deps.sandboxes.files(caller, sandbox_id) as files:
        opened = files.append(path) if append else files.write(path, mode_of(mode))
        async with opened as writer:
            check_room(request, writer)
            await receive_body(request, writer.write)
            response.status_code = 200 if writer.existed else 201
            return FileOut.of(await writer.commit())


@ROUTER.patch("/files/{path:any}")
async def change_file(  # noqa: PLR0913, PLR0917 - a route's parts
    sandbox_id: str, caller: SandboxCaller, deps: Deps, request: Request, path: UrlPath, body: ChangeBody
) -> FileOut:
    """Makes a folder, moves, copies, or sets the permission bits."""
    change = body.to_change(path)
    async with deps.sandboxes.files(caller, sandbox_id) as files:
        return FileOut.of(await while_connected(request, lambda: files.change(change)))


@ROUTER.delete("/files/{path:any}", status_code=204)
async def delete_file(  # noqa: PLR0913, PLR0917 - a route's parts
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    request: Request,
    path: UrlPath,
    recursive: Annotated[Flag, Query(description="a folder with all that is in it")] = False,
) -> None:
    """Removes a file, a link or an empty folder; or, recursively, a folder with all that is in it."""
    async with deps.sandboxes.files(caller, sandbox_id) as files:
        await while_connected(request, lambda: files.delete(path, recursive=recursive))


@ROUTER.get("/archive", responses={200: {"content": {"application/x-tar": {}}}}, response_class=Response)
async def get_archive(
    sandbox_id: str, caller: SandboxCaller, deps: Deps, path: str = "/workspace"
) -> PushResponse:
    """Sends a folder's content, or one file, as a tar archive."""
    async with AsyncExitStack() as held:
        files = await held.enter_async_context(deps.sandboxes.files(caller, sandbox_id))
        stream = await held.enter_async_context(files.pack(file_path(path)))
        return stream_response(await stream.receive(), stream, held.pop_all(), "application/x-tar")


@ROUTER.put("/archive", openapi_extra=RAW)
async def put_archive(
    sandbox_id: str, caller: SandboxCaller, deps: Deps, request: Request, path: str = "/workspace"
) -> ArchiveOut:
    """Extracts a tar archive, compressed or not, into a folder; nothing in it may lead out of there."""
    async with deps.sandboxes.files(caller, sandbox_id) as files, files.unpack(file_path(path)) as archive:
        async for piece in request.stream():
            await archive.write(piece)
        return ArchiveOut(entries=await archive.finish())


async def _download(
    deps: Services, caller: Principal, sandbox_id: str, path: FilePath, request: Request
) -> Response:
    async with AsyncExitStack() as held:
        files = await held.enter_async_context(deps.sandboxes.files(caller, sandbox_id))
        reader = await held.enter_async_context(files.read(path))
        return file_response(request, reader, held)


async def _watch(
    deps: Services, caller: Principal, sandbox_id: str, path: FilePath, *, recursive: bool
) -> Response:
    async with AsyncExitStack() as held:
        files: SandboxFiles = await held.enter_async_context(deps.sandboxes.files(caller, sandbox_id))
        events = await held.enter_async_context(files.watch(path, recursive=recursive))
        first = await anext(events)

        async def produce(write: Write) -> None:
            await write(sse({}, first.kind))
            try:
                async for event in events:
                    await write(sse(FileEventOut.of(event).model_dump(exclude_none=True), event.kind))
            except LmSandboxError as error:
                failure = failure_of(error)
                await write(sse({"code": failure.code, "detail": failure.message}, "error"))

        return PushResponse(produce, held=held.pop_all())
