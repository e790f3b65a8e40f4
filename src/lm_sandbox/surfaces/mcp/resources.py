"""The files of sandboxes as resources."""

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass

from lm_sandbox.errors import Gone, Invalid, SandboxNotFound, TooLarge
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.files import FileKind, FileQuery, FileReader
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.surfaces.mcp.arguments import WORKSPACE
from lm_sandbox.surfaces.mcp.caller import Call
from lm_sandbox.surfaces.mcp.sandboxes import CallSandboxes
from lm_sandbox.surfaces.mcp.told import plain
from lm_sandbox.surfaces.mcp.uris import read_uri, uri_of

PAGE = 200
MOST_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class FileResource:
    """A file that a client may read.

    Attributes:
        uri: Names it.
        name: Its path from the workspace on, for people.
        media_type: What its name makes it out to be.
        size: Bytes.
    """

    uri: str
    name: str
    media_type: str | None
    size: int


class FileResources:
    """Lists and reads files.

    Args:
        service: Gives access to them, with the caller's rights.
        sandboxes: Tells which sandbox a call is for.
    """

    def __init__(self, service: SandboxService, sandboxes: CallSandboxes) -> None:
        self._service = service
        self._sandboxes = sandboxes

    async def list(self, call: Call, cursor: str | None) -> tuple[Sequence[FileResource], str | None]:
        """Lists files in the workspace of the call's sandbox, and tells where to go on; makes no sandbox."""
        try:
            sandbox = await self._sandboxes.existing(call, None)
        except (SandboxNotFound, Gone):
            return (), None
        after = _after(sandbox.id, cursor)
        query = FileQuery(file_path(WORKSPACE), PAGE, recursive=True, after=after)
        async with self._service.files(call.principal, sandbox.id) as files:
            page = await files.list(query)
        found = [
            FileResource(
                uri_of(sandbox.id, f"{WORKSPACE}/{entry.path}"),
                plain(entry.path),
                mimetypes.guess_type(plain(entry.path))[0],
                entry.size,
            )
            for entry in page.entries
            if entry.kind is FileKind.FILE
        ]
        last = uri_of(sandbox.id, f"{WORKSPACE}/{page.entries[-1].path}") if page.more else None
        return found, last

    async def read(self, call: Call, uri: str) -> tuple[bytes, str | None]:
        """Reads a whole file.

        Raises:
            Invalid: the URI is none of a file.
            TooLarge: the file is too long for one message.
            SandboxNotFound, Gone, FileNotThere, FileConflict, FileRefused: it cannot be read.
        """
        sandbox_id, path = read_uri(uri)
        sandbox = await self._sandboxes.find(call.principal, sandbox_id)
        async with (
            self._service.files(call.principal, sandbox.id) as files,
            files.read(path) as reader,
        ):
            return await _whole(reader), mimetypes.guess_type(plain(path))[0]


async def _whole(reader: FileReader) -> bytes:
    data = bytearray()
    while len(data) <= MOST_BYTES:
        piece = await reader.read(len(data), MOST_BYTES + 1 - len(data))
        if not piece:
            return bytes(data)
        data += piece
    raise TooLarge(
        f"The file has {reader.info.size} bytes; a resource has at most {MOST_BYTES}. "
        "GET /v1/sandboxes/{id}/files/{path} sends it all, read_file shows lines of it.",
        field="uri",
    )


def _after(sandbox_id: str, cursor: str | None) -> str:
    if cursor is None:
        return ""
    found, path = read_uri(cursor)
    if found != sandbox_id or not path.startswith(f"{WORKSPACE}/"):
        raise Invalid("The cursor is not of this sandbox.", field="cursor")
    return path.removeprefix(f"{WORKSPACE}/")
