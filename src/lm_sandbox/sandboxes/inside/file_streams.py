"""Pipes between the server and what a file agent does in a fork."""

import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream

from lm_sandbox.errors import Unavailable
from lm_sandbox.sandboxes.file_path import FilePath
from lm_sandbox.sandboxes.files import FileEvent, FileEventKind
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.file_questions import LONG_S, QUICK_S, Question, Questions
from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter

PIPE_BYTES = 1 << 20
Pipe = tuple[int, int]


class AgentOutput(ByteReceiveStream):
    """What the agent writes; its end is that of the work, which may have failed.

    Args:
        reader: The pipe.
        question: What the agent was asked.
    """

    def __init__(self, reader: PipeReader, question: Question) -> None:
        self._reader = reader
        self._question = question

    async def receive(self, max_bytes: int = PIPE_BYTES) -> bytes:
        """Waits for the next bytes.

        Raises:
            anyio.EndOfStream: all was read.
            LmSandboxError: the work failed.
        """
        try:
            return await self._reader.receive(max_bytes)
        except anyio.EndOfStream:
            await self._question.answer(QUICK_S)
            self._question.settle()
            raise

    async def aclose(self) -> None:
        """Ends the work, where it is not done."""
        await self._reader.aclose()
        await self._question.drop()


class AgentInput:
    """What the agent reads; implements `ArchiveWriter`.

    Args:
        writer: The pipe.
        question: What the agent was asked.
    """

    def __init__(self, writer: PipeWriter, question: Question) -> None:
        self._writer = writer
        self._question = question

    async def write(self, piece: bytes) -> None:
        """Gives the next bytes.

        Raises:
            LmSandboxError: the work failed.
        """
        try:
            await self._writer.send(piece)
        except anyio.BrokenResourceError as error:
            await self._question.answer(QUICK_S)
            raise Unavailable("The sandbox stopped reading; try again.") from error

    async def finish(self) -> int:
        """Says that this was all, and returns how many entries there were."""
        await self._writer.aclose()
        answer = await self._question.answer(LONG_S)
        self._question.settle()
        return int(answer["entries"])

    async def aclose(self) -> None:
        """Ends the work, where it is not done."""
        await self._question.drop()
        await self._writer.aclose()


@asynccontextmanager
async def open_pipe_from(
    questions: Questions, do: str, path: FilePath, **more: object
) -> AsyncIterator[AgentOutput]:
    """Has the agent do something that writes."""
    ours, theirs = _pipe()
    question = await _asked(questions, do, path, more, (ours, theirs))
    output = AgentOutput(PipeReader(ours), question)
    try:
        yield output
    finally:
        await output.aclose()


@asynccontextmanager
async def open_pipe_to(
    questions: Questions, do: str, path: FilePath, **more: object
) -> AsyncIterator[AgentInput]:
    """Has the agent do something that reads."""
    theirs, ours = _pipe()
    question = await _asked(questions, do, path, more, (ours, theirs))
    given = AgentInput(PipeWriter(ours), question)
    try:
        yield given
    finally:
        await given.aclose()


async def _asked(questions: Questions, do: str, path: FilePath, more: Message, pipe: Pipe) -> Question:
    ours, theirs = pipe
    os.set_blocking(ours, False)
    try:
        return await questions.ask(do, path, more, [theirs])
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)


def _pipe() -> Pipe:
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        return read, write  # The host allows no larger ones; it is slower, but works.
    return read, write


async def read_events(stream: ByteReceiveStream) -> AsyncIterator[FileEvent]:
    """Reads the lines that a watching agent writes."""
    left = b""
    while True:
        try:
            left += await stream.receive(PIPE_BYTES)
        except anyio.EndOfStream:
            return
        *lines, left = left.split(b"\n")
        for line in lines:
            told = json.loads(line)
            yield FileEvent(FileEventKind(told["event"]), told.get("path"), told.get("to"))
