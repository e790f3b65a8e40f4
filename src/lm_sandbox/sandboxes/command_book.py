"""The commands of a sandbox that can be looked at, fed and ended while they run, and read afterwards."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio

from lm_sandbox.errors import CommandNotFound, Conflict, LmSandboxError
from lm_sandbox.sandboxes.commands import (
    CommandRequest,
    CommandResult,
    Sink,
    end_command,
    run_command,
)
from lm_sandbox.sandboxes.driver import Process
from lm_sandbox.sandboxes.output import Capture, OutputChunk, Stream
from lm_sandbox.sandboxes.output_log import OutputLog
from lm_sandbox.sandboxes.paging import page_of

REMEMBERED = 100
# Looking over all of them costs more than a tenth of a short command.
LOOKED_AFTER_EVERY = 16


@dataclass(slots=True)
class Command:
    """One command, from its start to long after its end.

    Attributes:
        id: Names it.
        request: What was asked for.
        process: The started program.
        log: All of its output.
        started_at: When it was started.
        result: How it ended, without the output, which is in the log; None while it runs.
        failure: What kept it from coming to an end, such as the end of its sandbox.
    """

    id: str
    request: CommandRequest
    process: Process
    log: OutputLog
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    result: CommandResult | None = None
    failure: LmSandboxError | None = None
    _ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    async def run(self, sink: Sink | None = None) -> CommandResult:
        """Waits for its end; cancelling kills it.

        Raises:
            SandboxFailed: the sandbox died under it.
        """

        async def take(chunk: OutputChunk) -> None:
            await self.log.append(chunk.stream, chunk.data)
            if sink is not None:
                await sink(chunk)

        try:
            result = await run_command(self.id, self.process, self.request, take)
            self.result = result.without_output()
        except LmSandboxError as error:
            self.failure = error
            raise
        finally:
            self.log.end()
            self._ended.set()
        return result

    async def wait(self, timeout_s: float) -> None:
        """Waits until it has ended, or for so many seconds."""
        with anyio.move_on_after(timeout_s):
            await self._ended.wait()

    async def feed(self, data: bytes, *, end: bool) -> None:
        """Writes to its standard input, and closes it where that is the end.

        Raises:
            Conflict: it takes no input, or no more.
        """
        stdin = self.process.stdin
        if stdin is None or not self.running or not self.request.keep_stdin_open:
            raise Conflict("The command takes no input; start it with keep_stdin_open.")
        try:
            await stdin.send(data)
            if end:
                await stdin.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Conflict("The command has closed its input.") from error

    async def signal(self, number: int) -> None:
        """Sends a signal to its process group.

        Raises:
            Conflict: it has ended.
        """
        if not self.running:
            raise Conflict("The command has ended.")
        await self.process.signal(number)

    async def end(self) -> None:
        """Kills it with all that it started, and waits until that is done."""
        if self.running:
            await end_command(self.process, self.request)
            await self._ended.wait()

    async def captured(self) -> tuple[Capture, Capture]:
        """Reads head and tail of standard output and standard error out of the log."""
        captures = {stream: Capture(self.request.max_output_bytes) for stream in Stream}
        after = 0
        while chunks := await self.log.read(after):
            for chunk in chunks:
                captures[chunk.stream].write(chunk.data)
            after = chunks[-1].after
        return captures[Stream.STDOUT], captures[Stream.STDERR]


class CommandBook:
    """The commands of one sandbox: all that run, and the last that have ended.

    Args:
        folder: Where long outputs are kept.
        spool_bytes: The most that they may take together; the oldest go first.
    """

    def __init__(self, folder: Path, spool_bytes: int) -> None:
        self._folder = folder
        self._spool_bytes = spool_bytes
        self._commands: OrderedDict[str, Command] = OrderedDict()
        self._opened = 0

    def open(self, command_id: str, request: CommandRequest, process: Process) -> Command:
        """Enters a command that was just started."""
        self._opened += 1
        if self._opened % LOOKED_AFTER_EVERY == 0:
            self._make_room()
        command = Command(command_id, request, process, OutputLog(self._folder))
        self._commands[command_id] = command
        return command

    def find(self, command_id: str) -> Command:
        """Returns the command of this id.

        Raises:
            CommandNotFound: there is none, or it is forgotten.
        """
        command = self._commands.get(command_id)
        if command is None:
            raise CommandNotFound(f"The sandbox has no command {command_id!r}, or it ended long ago.")
        return command

    def page(self, after: str | None, limit: int) -> tuple[list[Command], bool]:
        """Lists them, oldest first, from the one after `after` on, and tells whether there are more."""
        return page_of(list(self._commands.values()), after, limit)

    def close(self) -> None:
        """Forgets everything; the sandbox is gone."""
        for command in self._commands.values():
            command.log.discard()

    def _make_room(self) -> None:
        ended = [command for command in self._commands.values() if not command.running]
        surplus = len(ended) - REMEMBERED + 1
        for command in ended[: max(0, surplus)]:
            command.log.discard()
            del self._commands[command.id]
        taken = sum(command.log.disk_bytes for command in self._commands.values())
        for command in self._ended():
            if taken <= self._spool_bytes:
                return
            taken -= command.log.disk_bytes
            command.log.discard()

    def _ended(self) -> Iterator[Command]:
        return (command for command in self._commands.values() if not command.running)
