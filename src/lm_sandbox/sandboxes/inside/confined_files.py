"""The files of a sandbox, through its file agent; implements `SandboxFiles`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    Match,
    MatchPage,
    Move,
)
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.file_errors import CrossesFileSystems, info_of
from lm_sandbox.sandboxes.inside.file_questions import Questions
from lm_sandbox.sandboxes.inside.file_streams import open_pipe_from, open_pipe_to, read_events
from lm_sandbox.sandboxes.inside.transfers import Appending, DescriptorReader, Uploading, opened


class ConfinedFiles:
    """What can be done with the files of one sandbox.

    Args:
        questions: The way to its file agent.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def stat(self, path: FilePath) -> FileInfo:
        """Describes a path, a link as the link."""
        return _info(await self._questions.quick("look", path))

    async def list(self, query: FileQuery) -> FilePage:
        """Looks into a folder."""
        deep = query.recursive or "/" in (query.glob or "") or "**" in (query.glob or "")
        more = {"recursive": deep, "pattern": query.glob, "after": query.after, "limit": query.limit}
        if deep:
            answer = await self._questions.long("find", query.path, **more)
        else:
            answer = await self._questions.quick("list", query.path, **more)
        return FilePage(tuple(info_of(entry) for entry in answer["entries"]), answer["more"])

    async def grep(self, query: GrepQuery) -> MatchPage:
        """Searches files for lines."""
        answer = await self._questions.long(
            "grep",
            query.path,
            pattern=query.pattern,
            literal=query.literal,
            ignore_case=query.ignore_case,
            include=query.glob,
            limit=query.limit,
        )
        return MatchPage(tuple(Match(*found) for found in answer["matches"]), answer["more"])

    @asynccontextmanager
    async def read(self, path: FilePath) -> AsyncIterator[FileReader]:
        """Opens a regular file."""
        async with opened(self._questions, "open", path) as (fd, answer):
            yield DescriptorReader(fd, _info(answer))

    @asynccontextmanager
    async def write(self, path: FilePath, mode: int | None) -> AsyncIterator[FileWriter]:
        """Writes a whole file, which appears at once with its commit."""
        async with opened(self._questions, "create", path, mode=mode) as (fd, answer):
            upload = Uploading(
                fd, path, existed=answer["existed"], questions=self._questions, number=answer["id"]
            )
            try:
                yield upload
            finally:
                await upload.aclose()

    @asynccontextmanager
    async def append(self, path: FilePath) -> AsyncIterator[FileWriter]:
        """Writes at the end of a file as the bytes come."""
        async with opened(self._questions, "append", path) as (fd, answer):
            yield Appending(fd, path, existed=answer["existed"])

    async def change(self, change: Change) -> FileInfo:
        """Does it and describes what is there then."""
        ask = self._questions
        if isinstance(change, MakeFolder):
            return _info(await ask.quick("mkdir", change.path, mode=change.mode))
        if isinstance(change, Copy):
            return _info(await ask.long("copy", change.path, to=change.to, overwrite=change.overwrite))
        if isinstance(change, Move):
            return await self._move(change)
        return _info(await ask.quick("chmod", change.path, mode=change.mode))

    async def delete(self, path: FilePath, *, recursive: bool) -> None:
        """Removes a file, a link or a folder."""
        if recursive:
            await self._questions.long("remove", path)
        else:
            await self._questions.quick("delete", path)

    @asynccontextmanager
    async def pack(self, path: FilePath) -> AsyncIterator[ByteReceiveStream]:
        """Reads a folder's content, or one file, as a tar archive."""
        async with open_pipe_from(self._questions, "pack", path) as stream:
            yield stream

    @asynccontextmanager
    async def unpack(self, path: FilePath) -> AsyncIterator[ArchiveWriter]:
        """Extracts a tar archive into a folder."""
        async with open_pipe_to(self._questions, "unpack", path) as archive:
            yield archive

    @asynccontextmanager
    async def watch(self, path: FilePath, *, recursive: bool) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """Tells changes in a folder as they happen."""
        async with open_pipe_from(self._questions, "watch", path, recursive=recursive) as stream:
            yield read_events(stream)

    def close(self) -> None:
        """Ends the agent."""
        self._questions.close()

    async def _move(self, change: Move) -> FileInfo:
        more = {"to": change.to, "overwrite": change.overwrite}
        try:
            return _info(await self._questions.quick("move", change.path, **more))
        except CrossesFileSystems:
            return _info(await self._questions.long("carry", change.path, **more))


def _info(answer: Message) -> FileInfo:
    return info_of(answer["entry"])
