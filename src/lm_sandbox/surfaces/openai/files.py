"""/v1/files: files that are handed in once and used in responses and containers."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from lm_sandbox.agent.uploads import Upload
from lm_sandbox.errors import Invalid
from lm_sandbox.surfaces.deps import Deps, FileCaller
from lm_sandbox.surfaces.errors import raw_route_class
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.forms import file_of, name_of, read_form
from lm_sandbox.surfaces.openai.paging import After, Order, list_body
from lm_sandbox.surfaces.streams import PushResponse, Write

ROUTER = APIRouter(prefix="/v1/files", tags=["openai"], route_class=raw_route_class(openai_error))
# Bodies that are files; they have a bound of their own.
UPLOADED = re.compile(r"POST /v1/(files|containers/[^/]+/files)")
PURPOSE = re.compile(r"[a-z][a-z_-]{0,63}")
LONGEST_S = 30 * 86400
SHORTEST_S = 3600


@ROUTER.post("")
async def upload_file(request: Request, caller: FileCaller, deps: Deps) -> dict[str, object]:
    """Takes a file in: `file` and `purpose` as multipart/form-data, `expires_after[seconds]` if wanted."""
    async with read_form(request) as form:
        file = file_of(form)
        purpose = str(form.get("purpose") or "")
        if not PURPOSE.fullmatch(purpose):
            raise Invalid("purpose: say what the file is for, such as user_data.", field="purpose")
        kept_s = _kept_s(form.get("expires_after[seconds]"))
        return _body(await deps.uploads.add(caller, name_of(file), purpose, file.file, kept_s))


@ROUTER.get("")
async def list_files(  # noqa: PLR0913, PLR0917 - what may stand in the query
    caller: FileCaller,
    deps: Deps,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
    purpose: Annotated[str | None, Query()] = None,
) -> dict[str, object]:
    """Lists your files, the newest first."""
    found, more = await deps.uploads.page(caller, purpose, after, limit, newest=order == "desc")
    return list_body([_body(upload) for upload in found], more=more)


@ROUTER.get("/{file_id}")
async def show_file(file_id: str, caller: FileCaller, deps: Deps) -> dict[str, object]:
    """Shows a file."""
    return _body(await deps.uploads.find(caller, file_id))


@ROUTER.get("/{file_id}/content", response_class=Response)
async def file_content(file_id: str, caller: FileCaller, deps: Deps) -> Response:
    """Sends a file's bytes."""
    upload = await deps.uploads.find(caller, file_id)

    async def produce(write: Write) -> None:
        async with deps.uploads.content(upload) as pieces:
            async for piece in pieces:
                await write(piece)

    headers = {
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(upload.size_bytes),
    }
    return PushResponse(produce, media_type="application/octet-stream", headers=headers)


@ROUTER.delete("/{file_id}")
async def delete_file(file_id: str, caller: FileCaller, deps: Deps) -> dict[str, object]:
    """Deletes a file; copies of it in containers stay."""
    await deps.uploads.delete(caller, file_id)
    return {"id": file_id, "object": "file", "deleted": True}


def _kept_s(given: object) -> float | None:
    if given is None:
        return None
    text = str(given)
    if not text.isdecimal() or not SHORTEST_S <= int(text) <= LONGEST_S:
        raise Invalid(
            f"expires_after.seconds: a whole number from {SHORTEST_S} to {LONGEST_S} is needed.",
            field="expires_after.seconds",
        )
    return float(text)


def _body(upload: Upload) -> dict[str, object]:
    return {
        "id": upload.id,
        "object": "file",
        "bytes": upload.size_bytes,
        "created_at": int(upload.created_at.timestamp()),
        "expires_at": int(upload.expires_at.timestamp()) if upload.expires_at else None,
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": "processed",
        "status_details": None,
    }
