"""The seam to a sandbox's files, and its value types.

Everything is done as the sandbox's own user and sees what that user sees: no link, mount or race leads
out of the sandbox. Paths are absolute paths inside; bytes that are no UTF-8 are in them as lone
surrogates (`surrogateescape`). `tests/conformance/test_files.py` holds what every driver must do.

Each method may raise:
    FileNotThere: there is nothing at the path.
    FileConflict: what is there is of another kind, or is there although it must not be.
    FileRefused: the sandbox's user may not.
    LimitReached: the sandbox's disk, processes, memory or descriptors do not allow it.
    Invalid: the path, the pattern or the archive makes no sense.
    SandboxFailed: the sandbox died.
    Conflict: its processes were ended meanwhile.
    Unavailable: it does not answer in time.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from anyio.abc import ByteReceiveStream

from lm_sandbox.sandboxes.file_path import FilePath


class FileKind(StrEnum):
    """What is at a path."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is at a path; a link is told as the link.

    Attributes:
        path: In a listing from the listed folder on, else absolute.
        kind: What it is.
        size: Bytes of content.
        mode: Permission bits.
        modified_ns: When its content changed, in nanoseconds since 1970.
        target: Where a link points.
    """

    path: str
    kind: FileKind
    size: int
    mode: int
    modified_ns: int
    target: str | None = None


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A look into a folder.

    Attributes:
        path: The folder.
        recursive: Whether to look into folders in it.
        glob: What the path from the folder must match; `**` goes through folders.
        after: The path that ended the page before.
        limit: The most that is wanted.
    """

    path: FilePath
    limit: int
    recursive: bool = False
    glob: str | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class FilePage:
    """What a query has found, in a fixed order, and whether there is more."""

    entries: tuple[FileInfo, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class GrepQuery:
    """A search for lines.

    Attributes:
        path: A folder, or one file.
        pattern: A regular expression of Python, or plain text.
        literal: Whether it is plain text.
        ignore_case: Whether capitals do not matter.
        glob: Which files; without a `/` it is matched against the name alone.
        limit: The most lines that are wanted.
    """

    path: FilePath
    pattern: str
    limit: int
    literal: bool = False
    ignore_case: bool = False
    glob: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A line that matches.

    Attributes:
        path: From the searched folder's path on, absolute.
        line: Its number, from 1.
        column: The first matching character, from 1.
        text: The line, or what is around the match where it is long.
    """

    path: str
    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class MatchPage:
    """The lines that were found, and whether there are more."""

    matches: tuple[Match, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Makes a folder and those above it; `mode` None leaves it to the sandbox."""

    path: FilePath
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Renames, or moves to another file system; without `overwrite` nothing may be at `to`."""

    path: FilePath
    to: FilePath
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies a file or a folder with all in it; `to` appears whole or not at all."""

    path: FilePath
    to: FilePath
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SetMode:
    """Sets the permission bits."""

    path: FilePath
    mode: int


Change = MakeFolder | Move | Copy | SetMode


class FileEventKind(StrEnum):
    """What happened; `overflow` means that events were lost, `ready` that from here on all are told."""

    READY = "ready"
    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    MOVE = "move"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class FileEvent:
    """A change, with the path that it happened to and the one that a move went to."""

    kind: FileEventKind
    path: str | None = None
    to: str | None = None


class FileReader(Protocol):
    """An open file."""

    info: FileInfo

    async def read(self, offset: int, size: int) -> bytes:
        """Reads at most `size` bytes; fewer at the end of the file, none behind it."""
        ...


class FileWriter(Protocol):
    """A file that is being written.

    Attributes:
        existed: Whether there was a file before.
    """

    existed: bool

    @property
    def room(self) -> int:
        """Bytes that the disk limit still allows."""
        ...

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Writes all of the pieces, one behind the other."""
        ...

    async def commit(self) -> FileInfo:
        """Puts the file in its place; without this nothing is seen of what was written."""
        ...


class ArchiveWriter(Protocol):
    """A folder into which an archive is extracted."""

    async def write(self, piece: bytes) -> None:
        """Takes the next bytes of the archive."""
        ...

    async def finish(self) -> int:
        """Says that this was all, and returns how many entries there were."""
        ...


class SandboxFiles(Protocol):
    """The files of one sandbox. What is opened is closed, or given up, by leaving its context."""

    async def stat(self, path: FilePath) -> FileInfo:
        """Describes a path, a link as the link."""
        ...

    async def list(self, query: FileQuery) -> FilePage:
        """Looks into a folder."""
        ...

    async def grep(self, query: GrepQuery) -> MatchPage:
        """Searches files for lines; what is no text, or not for this user, is passed over."""
        ...

    def read(self, path: FilePath) -> AbstractAsyncContextManager[FileReader]:
        """Opens a regular file, links followed."""
        ...

    def write(self, path: FilePath, mode: int | None) -> AbstractAsyncContextManager[FileWriter]:
        """Writes a whole file, which appears at once with its commit; makes folders that are missing.

        `mode` None keeps what the file had. A link is written through.
        """
        ...

    def append(self, path: FilePath) -> AbstractAsyncContextManager[FileWriter]:
        """Writes at the end of a file as the bytes come; makes it and its folders where missing."""
        ...

    async def change(self, change: Change) -> FileInfo:
        """Does it and describes what is there then."""
        ...

    async def delete(self, path: FilePath, *, recursive: bool) -> None:
        """Removes a file, a link or an empty folder; or, recursively, a folder with all that is in it."""
        ...

    def pack(self, path: FilePath) -> AbstractAsyncContextManager[ByteReceiveStream]:
        """Reads a folder's content, or one file, as a tar archive."""
        ...

    def unpack(self, path: FilePath) -> AbstractAsyncContextManager[ArchiveWriter]:
        """Extracts a tar archive, compressed or not, into a folder; follows no link."""
        ...

    def watch(
        self, path: FilePath, *, recursive: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]:
        """Tells changes in a folder as they happen, from its `ready` event on."""
        ...
