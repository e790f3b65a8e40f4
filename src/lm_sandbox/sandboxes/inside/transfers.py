"""Moves the bytes of files that a sandbox's agent has opened; the disk is waited for in threads."""

import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.file_path import FilePath
from lm_sandbox.sandboxes.files import FileInfo
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.file_errors import error_of_number, info_of
from lm_sandbox.sandboxes.inside.file_questions import DROP_S, Questions, close_all


def check_descriptor(fd: int) -> None:
    """Holds the agent to its word that it hands out regular files only.

    Raises:
        SandboxFailed: it did not.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise SandboxFailed("The sandbox handed out something that is no file; make a new one.")


class DescriptorReader:
    """Implements `FileReader`.

    Args:
        fd: Stays the caller's.
        info: What it is.
    """

    def __init__(self, fd: int, info: FileInfo) -> None:
        self._fd = fd
        self.info = info

    async def read(self, offset: int, size: int) -> bytes:
        """Reads at most `size` bytes."""
        try:
            return await anyio.to_thread.run_sync(os.pread, self._fd, size, offset)
        except OSError as error:
            raise error_of_number(error.errno or 0, self.info.path) from error


class DescriptorWriter:
    """Writes to a descriptor.

    Args:
        fd: Stays the caller's.
        path: What it is.
        existed: Whether there was a file before.
    """

    def __init__(self, fd: int, path: str, *, existed: bool) -> None:
        self._fd = fd
        self._path = path
        self.existed = existed

    @property
    def room(self) -> int:
        """Bytes that the disk still takes."""
        free = os.fstatvfs(self._fd)
        return free.f_bavail * free.f_bsize

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Writes all of the pieces.

        Raises:
            LimitReached: the disk is full.
        """
        try:
            await anyio.to_thread.run_sync(_write_all, self._fd, pieces)
        except OSError as error:
            raise error_of_number(error.errno or 0, self._path) from error


class Appending(DescriptorWriter):
    """Implements `FileWriter`; what is written is there at once."""

    async def commit(self) -> FileInfo:
        """Describes the file as it is now."""
        now = os.fstat(self._fd)
        return info_of([self._path, now.st_mode, now.st_size, now.st_mtime_ns, None])


class Uploading(DescriptorWriter):
    """Implements `FileWriter`.

    Args:
        fd: Stays the caller's.
        path: What it is.
        existed: Whether there was a file before.
        questions: The agent that opened it.
        number: The question that opened it.
    """

    def __init__(self, fd: int, path: str, *, existed: bool, questions: Questions, number: int) -> None:
        super().__init__(fd, path, existed=existed)
        self._questions = questions
        self._number = number
        self._committed = False

    async def aclose(self) -> None:
        """Removes what was written, unless it was committed."""
        if not self._committed:
            with anyio.move_on_after(DROP_S, shield=True):
                await self._questions.cancel(self._number)

    async def commit(self) -> FileInfo:
        """Puts the file in its place."""
        answer = await self._questions.quick("commit", self._path, upload=self._number)
        self._committed = True
        return info_of(answer["entry"])


@asynccontextmanager
async def opened(
    questions: Questions, do: str, path: FilePath, **more: object
) -> AsyncIterator[tuple[int, Message]]:
    """Has the agent open a file, and closes it in the end."""
    answer = await questions.quick(do, path, **more)
    try:
        check_descriptor(answer["fds"][0])
        yield answer["fds"][0], answer
    finally:
        close_all(answer["fds"])


def _write_all(fd: int, pieces: Sequence[bytes]) -> None:
    left = [memoryview(piece) for piece in pieces if piece]
    while left:
        written = os.writev(fd, left[:_MOST_PIECES])
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]


_MOST_PIECES = os.sysconf("SC_IOV_MAX")
