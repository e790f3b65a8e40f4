"""The commands of a sandbox that can be looked at, fed and ended while they run, and read afterwards."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread

from lm_sandbox.errors import CommandNotFound, Conflict, LmSandboxError, NoCapacity, SandboxFailed
from lm_sandbox.sandboxes.command_store import CommandRecord, CommandStore
from lm_sandbox.sandboxes.commands import (
    CommandRequest,
    CommandResult,
    Sink,
    end_command,
    run_command,
)
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.output import Capture, OutputChunk, Stream
from lm_sandbox.sandboxes.output_log import LoggedStream, OutputLog
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.process import MovableStream, OutputStream, Process

REMEMBERED = 100
ENDED_ALONE = "The command ended while no server was there to see how."
# Looking over all of them costs more than a tenth of a short command.
LOOKED_AFTER_EVERY = 16


@dataclass(slots=True)
class Command:
    """One command, from its start to long after its end.

    Attributes:
        id: Names it.
        request: What was asked for.
        process: The started program; None where it ended before this server was started.
        log: All of its output.
        started: When it was started.
        result: How it ended, without the output, which is in the log; None while it runs.
        failure: What kept it from coming to an end, such as the end of its sandbox.
        lasting: Where it is recorded, if it outlives the server.
    """

    id: str
    request: CommandRequest
    process: Process | None
    log: OutputLog
    started: Instant = field(default_factory=Instant.now)
    result: CommandResult | None = None
    failure: LmSandboxError | None = None
    lasting: CommandStore | None = None
    _ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def started_at(self) -> datetime:
        """When it was started, by the host's clock."""
        return self.started.wall

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    async def run(self, sink: Sink | None = None) -> CommandResult:
        """Waits for its end; cancelling kills it.

        Raises:
            SandboxFailed: the sandbox died under it.
        """
        process = self._live()
        logged = self._logged(process)

        async def take(chunk: OutputChunk) -> None:
            if not logged:
                await self.log.append(chunk.stream, chunk.data)
            if sink is not None:
                await sink(chunk)

        try:
            result = await run_command(self.id, process, self.request, take, logged)
            self.result = self._over_all(result).without_output()
        except LmSandboxError as error:
            self.failure = error
            raise
        finally:
            self.end_log()
            with anyio.CancelScope(shield=True):
                await self.record()
        return result

    def _logged(self, process: Process) -> dict[Stream, OutputStream]:
        """Returns the output as it comes out of a log that must lose nothing; empty where it need not."""
        streams = {Stream.STDOUT: process.stdout, Stream.STDERR: process.stderr}
        movable = {name: one for name, one in streams.items() if isinstance(one, MovableStream)}
        if self.lasting is None or movable.keys() != streams.keys():
            return {}
        return {name: LoggedStream(one, self.log, name) for name, one in movable.items()}

    def end_log(self) -> None:
        """Says that it has ended."""
        self.log.end()
        self._ended.set()

    async def record(self) -> None:
        """Writes down how it stands, where another server may ask."""
        if self.lasting is None:
            return
        record = CommandRecord.of(self.id, self.request, self.started)
        failure = self.failure.message if self.failure else None
        record = record.model_copy(update={"result": self.result, "failure": failure})
        # Where the disk is full the command itself goes on all the same.
        with suppress(OSError):
            await anyio.to_thread.run_sync(self.lasting.write, record)

    def _over_all(self, result: CommandResult) -> CommandResult:
        """Adds what was before this server, of which the log knows."""
        if self.lasting is None or not self.log.complete:
            return result
        totals = self.log.totals
        lived_ms = Instant.now().since(self.started) * 1000
        return replace(
            result,
            stdout_bytes=totals[Stream.STDOUT],
            stderr_bytes=totals[Stream.STDERR],
            duration_ms=round(lived_ms, 3),
        )

    async def wait(self, timeout_s: float) -> None:
        """Waits until it has ended, or for so many seconds."""
        with anyio.move_on_after(timeout_s):
            await self._ended.wait()

    async def feed(self, data: bytes, *, end: bool) -> None:
        """Writes to its standard input, and closes it where that is the end.

        Raises:
            Conflict: it takes no input, or no more.
        """
        stdin = self._live().stdin
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
        await self._live().signal(number)

    async def end(self) -> None:
        """Kills it with all that it started, and waits until that is done."""
        if self.running:
            await end_command(self._live(), self.request)
            await self._ended.wait()

    def _live(self) -> Process:
        if self.process is None:
            raise Conflict("The command has ended.")
        return self.process

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
        store: Where those are recorded that outlive the server.
        spool_bytes: The most that they may take together; the oldest go first.
    """

    def __init__(self, folder: Path, store: CommandStore, spool_bytes: int) -> None:
        self._folder = folder
        self._store = store
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

    async def open_lasting(self, command_id: str, request: CommandRequest, process: Process) -> Command:
        """Enters a command that was just started and outlives the server.

        Raises:
            NoCapacity: the disk does not take its record.
        """
        command = self.open(command_id, request, process)
        record = CommandRecord.of(command_id, request, command.started)
        try:
            await anyio.to_thread.run_sync(self._store.write, record)
            command.log = OutputLog.keep(self._store.log(command_id))
        except OSError as error:
            del self._commands[command_id]
            self._store.remove(command_id)
            with anyio.CancelScope(shield=True):
                await process.kill()
                await process.aclose()
            raise NoCapacity("The server's disk takes no more; delete something.") from error
        command.lasting = self._store
        return command

    def restore(self, running: Mapping[str, Process]) -> list[Command]:
        """Enters what an earlier server has recorded, and returns those that still run.

        Args:
            running: The programs that do, by the ids of their commands.
        """
        for record in self._store.read():
            left_s = record.timeout_s - Instant.now().since(record.started)
            process = running.get(record.id)
            with suppress(OSError):
                log = OutputLog.load(self._store.log(record.id))
                request = record.request(max(left_s, 0.01))
                command = Command(record.id, request, process, log, record.started, record.result)
                command.lasting = self._store
                self._commands[record.id] = command
                if record.id not in running or record.result is not None or record.failure is not None:
                    if record.result is None:
                        command.failure = SandboxFailed(record.failure or ENDED_ALONE)
                    command.end_log()
        return [command for command in self._commands.values() if command.running]

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
        self._store.clear()

    def _make_room(self) -> None:
        ended = [command for command in self._commands.values() if not command.running]
        surplus = len(ended) - REMEMBERED + 1
        for command in ended[: max(0, surplus)]:
            command.log.discard()
            self._store.remove(command.id)
            del self._commands[command.id]
        taken = sum(command.log.disk_bytes for command in self._commands.values())
        for command in self._ended():
            if taken <= self._spool_bytes:
                return
            taken -= command.log.disk_bytes
            command.log.discard()

    def _ended(self) -> Iterator[Command]:
        return (command for command in self._commands.values() if not command.running)
