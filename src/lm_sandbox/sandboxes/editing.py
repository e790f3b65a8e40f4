"""Replaces text in a file."""

from dataclasses import dataclass

from lm_sandbox.errors import EditMismatch, TooLarge
from lm_sandbox.sandboxes.file_path import FilePath
from lm_sandbox.sandboxes.files import FileInfo, FileReader, SandboxFiles
from lm_sandbox.sandboxes.limits import MIB

MAX_BYTES = 16 * MIB
SHOWN_LINES = 10


@dataclass(frozen=True, slots=True)
class Edit:
    """Every `old` becomes `new`; `expected` says how many there must be."""

    path: FilePath
    old: str
    new: str
    expected: int = 1


async def edit_file(files: SandboxFiles, edit: Edit) -> FileInfo:
    """Replaces text, all of it at once or nothing.

    Raises:
        EditMismatch: the text is not there as often as expected; the message says how often, and where.
        TooLarge: the file is too large to be edited like this.
    """
    async with files.read(edit.path) as reader:
        content = await _whole(reader)
    old = edit.old.encode()
    found = content.count(old)
    if found != edit.expected:
        raise EditMismatch(_mismatch(content, old, found, edit.expected))
    async with files.write(edit.path, None) as writer:
        await writer.write([content.replace(old, edit.new.encode())])
        return await writer.commit()


async def _whole(reader: FileReader) -> bytes:
    if reader.info.size > MAX_BYTES:
        raise TooLarge(
            f"The file has {reader.info.size} bytes; at most {MAX_BYTES} can be edited. Use a command.",
            field="path",
        )
    content = bytearray()
    while piece := await reader.read(len(content), MAX_BYTES + 1 - len(content)):
        content += piece
    return bytes(content)


def _mismatch(content: bytes, old: bytes, found: int, expected: int) -> str:
    if not found:
        return (
            "The old text is not in the file; nothing was changed. Read the file and copy it exactly, "
            "spaces and line ends included."
        )
    return (
        f"The old text is in the file {found} times (lines {_lines(content, old)}), not {expected}; nothing "
        f"was changed. Give more of the text around it, or set expected to {found}."
    )


def _lines(content: bytes, old: bytes) -> str:
    numbers: list[str] = []
    at = content.find(old)
    while at >= 0 and len(numbers) < SHOWN_LINES:
        numbers.append(str(content.count(b"\n", 0, at) + 1))
        at = content.find(old, at + len(old))
    return ", ".join(numbers) + (", ..." if at >= 0 else "")
