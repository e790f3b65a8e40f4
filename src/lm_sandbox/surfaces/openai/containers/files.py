"""/v1/containers/{id}/files: the files in a container's workspace."""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import formatdate

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lm_sandbox.agent.uploads import Upload
from lm_sandbox.errors import FileNotThere, Invalid, NotFound
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.files import FileInfo, FileKind, FileQuery, FileReader
from lm_sandbox.surfaces.deps import Deps, SandboxCaller, Services
from lm_sandbox.surfaces.errors import raw_route_class
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.forms import file_of, is_form, name_of, read_form
from lm_sandbox.surfaces.openai.paging import After, Limit, Order, list_body
from lm_sandbox.surfaces.streams import PushResponse, Write

ROUTER = APIRouter(
    prefix="/v1/containers/{container_id}/files", tags=["openai"], route_class=raw_route_class(openai_error)
)
WORKSPACE = "/workspace"
MARK = "cfile_"
PIECE = 1 << 20
PAGE = 1000
MOST_LISTED = 10_000
INERT = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}


class FileReference(BaseModel):
    """An uploaded file to copy in."""

    model_config = ConfigDict(extra="allow")

    file_id: str = Field(min_length=1, max_length=128)


@ROUTER.post("")
async def create_file(
    container_id: str, request: Request, caller: SandboxCaller, deps: Deps
) -> dict[str, object]:
    """Puts a file into the workspace: from a multipart form, or an uploaded one by `file_id`."""
    if not is_form(request):
        body = await _reference(request)
        upload = await deps.uploads.find(caller, body.file_id)
        return _body(container_id, await put_upload(deps, caller, container_id, upload), "user")
    async with read_form(request) as form:
        file = file_of(form)

        async def pieces() -> AsyncIterator[bytes]:
            while piece := await file.read(PIECE):
                yield piece

        return _body(container_id, await _put(deps, caller, container_id, name_of(file), pieces()), "user")


@ROUTER.get("")
async def list_files(  # noqa: PLR0913, PLR0917 - what may stand in the query
    container_id: str,
    caller: SandboxCaller,
    deps: Deps,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> dict[str, object]:
    """Lists the files in the workspace and its folders by name; at most ten thousand of them."""
    found: list[FileInfo] = []
    async with deps.sandboxes.files(caller, container_id) as files:
        more, last = True, ""
        while more and len(found) < MOST_LISTED:
            page = await files.list(FileQuery(file_path(WORKSPACE), PAGE, recursive=True, after=last))
            found += [entry for entry in page.entries if entry.kind is FileKind.FILE]
            more, last = page.more, page.entries[-1].path if page.entries else ""
    if order == "desc":
        found.reverse()
    data = [_body(container_id, entry, None, f"{WORKSPACE}/{entry.path}") for entry in found]
    start = next((place for place, entry in enumerate(data, 1) if entry["id"] == after), 0)
    return list_body(data[start : start + limit], more=len(data) > start + limit)


@ROUTER.get("/{file_id}")
async def show_file(container_id: str, file_id: str, caller: SandboxCaller, deps: Deps) -> dict[str, object]:
    """Shows a file."""
    path = _path(file_id)
    async with deps.sandboxes.files(caller, container_id) as files:
        info = await files.stat(path)
    if info.kind is not FileKind.FILE:
        raise FileNotThere(f"There is no file {file_id!r} in this container.")
    return _body(container_id, info, None)


@ROUTER.get("/{file_id}/content", response_class=Response)
async def file_content(container_id: str, file_id: str, caller: SandboxCaller, deps: Deps) -> Response:
    """Sends a file's bytes."""
    async with AsyncExitStack() as exits:
        files = await exits.enter_async_context(deps.sandboxes.files(caller, container_id))
        reader = await exits.enter_async_context(files.read(_path(file_id)))
        modified = formatdate(max(0, reader.info.modified_ns) // 1_000_000_000, usegmt=True)
        headers = INERT | {"Last-Modified": modified}

        async def produce(write: Write) -> None:
            await _send(reader, write)

        held = exits.pop_all()
        return PushResponse(produce, media_type="application/octet-stream", headers=headers, held=held)


@ROUTER.delete("/{file_id}")
async def delete_file(
    container_id: str, file_id: str, caller: SandboxCaller, deps: Deps
) -> dict[str, object]:
    """Deletes a file."""
    async with deps.sandboxes.files(caller, container_id) as files:
        await files.delete(_path(file_id), recursive=False)
    return {"id": file_id, "object": "container.file.deleted", "deleted": True}


async def put_upload(deps: Services, caller: Principal, container_id: str, upload: Upload) -> FileInfo:
    """Copies an uploaded file into the workspace, under its own name.

    Raises:
        LimitReached: the sandbox's disk is full.
        SandboxNotFound, Gone: the container is not there.
    """
    async with deps.uploads.content(upload) as pieces:
        return await _put(deps, caller, container_id, upload.name, pieces)


async def _reference(request: Request) -> FileReference:
    try:
        return FileReference.model_validate_json(await request.body())
    except ValidationError as error:
        raise Invalid(
            "Send the file as multipart/form-data, or the file_id of an uploaded one as JSON.", field="file"
        ) from error


async def _put(
    deps: Services, caller: Principal, container_id: str, name: str, pieces: AsyncIterator[bytes]
) -> FileInfo:
    path = file_path(f"{WORKSPACE}/{name}", "file")
    async with (
        deps.sandboxes.files(caller, container_id) as files,
        files.write(path, None) as writer,
    ):
        async for piece in pieces:
            await writer.write([piece])
        return await writer.commit()


async def _send(reader: FileReader, write: Write) -> None:
    offset = 0
    while piece := await reader.read(offset, PIECE):
        await write(piece)
        offset += len(piece)


def _body(container_id: str, info: FileInfo, source: str | None, path: str = "") -> dict[str, object]:
    path = path or info.path
    return {
        "id": _file_id(path),
        "object": "container.file",
        "bytes": info.size,
        "container_id": container_id,
        "created_at": info.modified_ns // 1_000_000_000,
        "path": path.encode(errors="surrogateescape").decode(errors="replace"),
        "source": source or "assistant",
    }


def _file_id(path: str) -> str:
    """A file is named by its path, so that what commands make has an id as well."""
    encoded = base64.urlsafe_b64encode(path.encode(errors="surrogateescape"))
    return MARK + encoded.rstrip(b"=").decode()


def _path(file_id: str) -> FilePath:
    unknown = NotFound(f"There is no file {file_id[:100]!r} in this container.")
    encoded = file_id.removeprefix(MARK)
    if encoded == file_id:
        raise unknown
    try:
        path = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise unknown from error
    text = path.decode(errors="surrogateescape")
    if not text.startswith(f"{WORKSPACE}/") or ".." in text.split("/"):
        raise unknown
    return file_path(text)
