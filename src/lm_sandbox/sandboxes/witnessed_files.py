"""The files of a sandbox, with a witness to all that is done with them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio.abc import ByteReceiveStream

from lm_sandbox.sandboxes.file_path import FilePath
from lm_sandbox.sandboxes.files import (
    ArchiveWriter,
    Change,
    Copy,
    FileEvent,
    FileInfo,
    FilePage,
    FileQuery,
    FileReader,
    FileWriter,
    GrepQuery,
    MakeFolder,
    MatchPage,
    Move,
    SandboxFiles,
)

# Sees one operation on a path, and on a second one where it moves or copies there.
See = Callable[[str, str, str], AbstractAsyncContextManager[None]]
OPERATIONS: dict[type, str] = {MakeFolder: "make_folder", Move: "move", Copy: "copy"}


class WitnessedFiles:
    """Implements `SandboxFiles` by another one; what only describes a path is not worth a record.

    Args:
        files: Does it.
        see: Sees it done.
    """

    def __init__(self, files: SandboxFiles, see: See) -> None:
        self._files = files
        self._see = see

    async def stat(self, path: FilePath) -> FileInfo:
        """Describes a path."""
        return await self._files.stat(path)

    async def list(self, query: FileQuery) -> FilePage:
        """Looks into a folder."""
        return await self._files.list(query)

    async def grep(self, query: GrepQuery) -> MatchPage:
        """Searches files for lines."""
        async with self._see("search", str(query.path), ""):
            return await self._files.grep(query)

    @asynccontextmanager
    async def read(self, path: FilePath) -> AsyncIterator[FileReader]:
        """Opens a file."""
        async with self._see("read", str(path), ""), self._files.read(path) as reader:
            yield reader

    @asynccontextmanager
    async def write(self, path: FilePath, mode: int | None) -> AsyncIterator[FileWriter]:
        """Writes a file."""
        async with self._see("write", str(path), ""), self._files.write(path, mode) as writer:
            yield writer

    @asynccontextmanager
    async def append(self, path: FilePath) -> AsyncIterator[FileWriter]:
        """Writes at the end of a file."""
        async with self._see("append", str(path), ""), self._files.append(path) as writer:
            yield writer

    async def change(self, change: Change) -> FileInfo:
        """Makes, moves, copies or sets bits."""
        to = str(change.to) if isinstance(change, Move | Copy) else ""
        async with self._see(OPERATIONS.get(type(change), "set_mode"), str(change.path), to):
            return await self._files.change(change)

    async def delete(self, path: FilePath, *, recursive: bool) -> None:
        """Removes it."""
        async with self._see("delete", str(path), ""):
            await self._files.delete(path, recursive=recursive)

    @asynccontextmanager
    async def pack(self, path: FilePath) -> AsyncIterator[ByteReceiveStream]:
        """Reads a folder as an archive."""
        async with self._see("pack", str(path), ""), self._files.pack(path) as stream:
            yield stream

    @asynccontextmanager
    async def unpack(self, path: FilePath) -> AsyncIterator[ArchiveWriter]:
        """Extracts an archive."""
        async with self._see("unpack", str(path), ""), self._files.unpack(path) as archive:
            yield archive

    @asynccontextmanager
    async def watch(self, path: FilePath, *, recursive: bool) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """Watches a folder."""
        async with self._see("watch", str(path), ""), self._files.watch(path, recursive=recursive) as events:
            yield events
