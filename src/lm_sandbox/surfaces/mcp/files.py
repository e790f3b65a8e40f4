"""The tools that work on files."""

from urllib.parse import quote

from lm_sandbox.sandboxes.editing import edit_file
from lm_sandbox.sandboxes.files import FileInfo, FileKind, FileReader
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.surfaces.mcp.arguments import EditFile, ListFiles, ReadFile, WriteFile, path_of
from lm_sandbox.surfaces.mcp.caller import Call
from lm_sandbox.surfaces.mcp.lines import Lines, read_lines
from lm_sandbox.surfaces.mcp.sandboxes import CallSandboxes
from lm_sandbox.surfaces.mcp.told import Image, Told, plain
from lm_sandbox.surfaces.mcp.uris import uri_of

IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
MOST_IMAGE_BYTES = 4 * 1024 * 1024
MAGIC_BYTES = 16


class FileTools:
    """`read_file`, `write_file`, `edit_file` and `list_files`.

    Args:
        service: Gives access to files, with the caller's rights.
        sandboxes: Tells which sandbox a call is for.
        most_output: Bytes of a file that one answer shows.
    """

    def __init__(self, service: SandboxService, sandboxes: CallSandboxes, most_output: int) -> None:
        self._service = service
        self._sandboxes = sandboxes
        self._most_output = most_output

    async def read(self, call: Call, arguments: ReadFile) -> Told:
        """Shows lines of a text, or a picture."""
        path = path_of(arguments.path)
        sandbox, _ = await self._sandboxes.use(call, arguments.sandbox)
        async with (
            self._service.files(call.principal, sandbox.id) as files,
            files.read(path) as reader,
        ):
            details = {"sandbox": sandbox.id, "path": plain(path), "size": reader.info.size}
            image = await _image(reader)
            if image is not None:
                return Told(f"[{image.media_type} of {reader.info.size} bytes]", details, image)
            most_lines = arguments.max_lines
            lines = await read_lines(reader, arguments.start_line, most_lines, self._most_output)
        if lines.text is None:
            return Told(
                f"[{plain(path)} is no text: {reader.info.size} bytes. Read it as the resource "
                f"{uri_of(sandbox.id, path)} or look at it with bash.]",
                details,
            )
        return Told(_shown(lines, reader.info.size), details | {"next_line": lines.next_line})

    async def write(self, call: Call, arguments: WriteFile) -> Told:
        """Writes a whole file."""
        path, content = path_of(arguments.path), arguments.encoding.bytes_of(arguments.content)
        sandbox, replaced = await self._sandboxes.use(call, arguments.sandbox)
        async with (
            self._service.files(call.principal, sandbox.id) as files,
            files.write(path, None) as writer,
        ):
            await writer.write([content])
            info = await writer.commit()
            did = "replaced" if writer.existed else "made"
        note = "; the sandbox is new, an earlier one was deleted with its files" if replaced else ""
        return Told(f"[{did} {plain(path)}, {info.size} bytes{note}]", _details(sandbox.id, info))

    async def edit(self, call: Call, arguments: EditFile) -> Told:
        """Replaces text in a file, all of it or nothing."""
        edit = arguments.to_edit()
        sandbox, _ = await self._sandboxes.use(call, arguments.sandbox)
        async with self._service.files(call.principal, sandbox.id) as files:
            info = await edit_file(files, edit)
        times = "once" if edit.expected == 1 else f"{edit.expected} times"
        return Told(f"[replaced {times} in {plain(edit.path)}]", _details(sandbox.id, info))

    async def list(self, call: Call, arguments: ListFiles) -> Told:
        """Lists a folder, one path a line."""
        query = arguments.to_query()
        sandbox, _ = await self._sandboxes.use(call, arguments.sandbox)
        async with self._service.files(call.principal, sandbox.id) as files:
            page = await files.list(query)
        lines = [_line(entry) for entry in page.entries]
        if page.more:
            after = quote(page.entries[-1].path, errors="surrogateescape")
            lines.append(f"[there are more; go on with after {after}]")
        return Told("\n".join(lines) or "[nothing]", {"sandbox": sandbox.id, "more": page.more})


def _shown(lines: Lines, size: int) -> str:
    text = lines.text or ""
    if lines.cut_line:
        text += f"\n[... line {lines.cut_line} goes on; bash shows the rest, such as with cut -c ...]"
    if lines.next_line:
        text += f"\n[... the file of {size} bytes goes on with line {lines.next_line} ...]"
    return text or "[nothing]"


async def _image(reader: FileReader) -> Image | None:
    magic = await reader.read(0, MAGIC_BYTES)
    kind = next((kind for start, kind in IMAGES.items() if magic.startswith(start)), None)
    if magic[:4] == b"RIFF" and magic[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None or reader.info.size > MOST_IMAGE_BYTES:
        return None
    data = bytearray()
    while len(data) <= MOST_IMAGE_BYTES:
        piece = await reader.read(len(data), MOST_IMAGE_BYTES + 1 - len(data))
        if not piece:
            return Image(bytes(data), kind)
        data += piece
    return None


def _line(entry: FileInfo) -> str:
    path = plain(entry.path)
    if entry.kind is FileKind.DIRECTORY:
        return f"{path}/"
    if entry.kind is FileKind.LINK:
        return f"{path} -> {plain(entry.target or '')}"
    return f"{path}  {entry.size} bytes" if entry.kind is FileKind.FILE else f"{path}  (no regular file)"


def _details(sandbox_id: str, info: FileInfo) -> dict[str, object]:
    return {"sandbox": sandbox_id, "path": plain(info.path), "size": info.size}
