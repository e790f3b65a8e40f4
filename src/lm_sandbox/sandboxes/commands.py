"""Runs one command to its end: feeds it, bounds its output and its time, and says how it ended."""

import math
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Self

import anyio
from anyio.abc import ByteSendStream, TaskGroup

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.output import Capture, OutputChunk, Stream
from lm_sandbox.sandboxes.process import CommandSpec, Exit, OutputStream, Process
from lm_sandbox.sandboxes.user import User

READ_BYTES = 64 * 1024
# A background child may hold the pipes for ever, silent or writing; what the program itself wrote
# is in them when it ends, and is no more than a pipe holds.
DRAIN_S = 0.05
PIPE_BYTES = 1024 * 1024

Sink = Callable[[OutputChunk], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command as a caller asks for it.

    Attributes:
        argv: The program and its arguments.
        cwd: An absolute path inside the sandbox.
        env: Added to the sandbox's variables.
        stdin: Fed to the program.
        keep_stdin_open: Whether more input may follow; otherwise its end follows at once.
        detach: Whether ending it spares what has left its process group.
        timeout_s: Wall time after which it is killed.
        max_output_bytes: Bytes kept of each stream.
        output_limit_bytes: Written bytes, both streams together, after which it is killed.
        lasting: Whether it goes on when the server is killed.
        checkpoint: The snapshot of the files as they were before it.
        user: Who it runs as.
    """

    argv: tuple[str, ...]
    timeout_s: float
    max_output_bytes: int
    output_limit_bytes: int
    cwd: str = "/workspace"
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes | None = None
    keep_stdin_open: bool = False
    detach: bool = False
    lasting: bool = False
    checkpoint: str | None = None
    user: User = User.SANDBOX

    def spec(self) -> CommandSpec:
        """Returns what the driver needs to know of it."""
        return CommandSpec(
            self.argv,
            self.cwd,
            self.env,
            stdin=self.stdin is not None or self.keep_stdin_open,
            user=self.user,
        )


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended and what it wrote.

    Attributes:
        id: Names the command.
        exit_code: The exit status; None when a signal ended it.
        signal: The name of that signal, such as `SIGKILL`.
        stdout: What was kept of it, with a line where bytes are missing.
        stderr: Likewise.
        stdout_bytes: Everything it wrote there.
        stderr_bytes: Likewise.
        truncated: Whether bytes are missing from either.
        timed_out: Whether it was killed for its wall time.
        limits: Every limit that was hit.
        duration_ms: Wall time from start to end.
    """

    id: str
    exit_code: int | None
    signal: str | None
    stdout: bytes
    stderr: bytes
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    timed_out: bool
    limits: tuple[Limit, ...]
    duration_ms: float

    @property
    def oom_killed(self) -> bool:
        """Whether the memory limit was hit."""
        return Limit.MEMORY in self.limits

    def without_output(self) -> Self:
        """Returns the same without what it wrote, to be kept for long."""
        return replace(self, stdout=b"", stderr=b"")


async def run_command(
    command_id: str,
    process: Process,
    request: CommandRequest,
    sink: Sink | None = None,
    sources: Mapping[Stream, OutputStream] | None = None,
) -> CommandResult:
    """Waits for a started command, whatever it does, and closes its streams.

    When the caller is cancelled, the command and all that it started are killed first.

    Args:
        command_id: Goes into the result.
        process: The started program.
        request: Its bounds.
        sink: Gets every chunk as it comes; the command waits while the sink does.
        sources: Where its output is read, if not from the program itself.

    Raises:
        SandboxFailed: the sandbox died under the command.
    """
    own = {Stream.STDOUT: process.stdout, Stream.STDERR: process.stderr}
    return await _Execution(command_id, process, request, sink, sources or own).run()


async def end_command(process: Process, request: CommandRequest) -> None:
    """Kills a command: all that it started, or its process group alone where it may leave things running."""
    if request.detach:
        await process.signal(signal.SIGKILL)
    else:
        await process.kill()


class _Execution:
    def __init__(
        self,
        command_id: str,
        process: Process,
        request: CommandRequest,
        sink: Sink | None,
        sources: Mapping[Stream, OutputStream],
    ) -> None:
        self._id = command_id
        self._process = process
        self._request = request
        self._sink = sink
        self._sources = sources
        self._captures = {stream: Capture(request.max_output_bytes) for stream in Stream}
        self._limits: set[Limit] = set()
        self._ended = False
        self._receives: dict[Stream, anyio.CancelScope] = {}

    async def run(self) -> CommandResult:
        started = perf_counter()
        try:
            exited = await self._to_the_end()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await end_command(self._process, self._request)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._process.aclose()
        return self._result(exited, (perf_counter() - started) * 1000)

    async def _to_the_end(self) -> Exit:
        failures: list[SandboxFailed] = []
        async with anyio.create_task_group() as streams:
            try:
                return await self._wait(streams)
            except SandboxFailed as error:
                failures.append(error)
                streams.cancel_scope.cancel()
        # Raised here, so that it does not come wrapped into a group.
        raise failures[0]

    async def _wait(self, streams: TaskGroup) -> Exit:
        process = self._process
        for stream, source in self._sources.items():
            streams.start_soon(self._read, stream, source)
        if process.stdin is not None:
            streams.start_soon(self._feed, process.stdin)
        with anyio.move_on_after(self._request.timeout_s) as deadline:
            exited = await process.wait()
        if deadline.cancelled_caught:
            self._limits.add(Limit.WALL_TIME)
            await end_command(process, self._request)
            exited = await process.wait()
        self._ended = True
        for receive in self._receives.values():
            receive.deadline = self._drained_at()
        return exited

    def _drained_at(self) -> float:
        return anyio.current_time() + DRAIN_S if self._ended else math.inf

    async def _feed(self, stdin: ByteSendStream) -> None:
        try:
            await stdin.send(self._request.stdin or b"")
            if not self._request.keep_stdin_open:
                await stdin.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # The program ended or closed its input without reading all of it.

    async def _read(self, stream: Stream, source: OutputStream) -> None:
        left_after_end = PIPE_BYTES
        while left_after_end > 0:
            data = await self._receive(stream, source)
            if not data:
                return
            await self._take(stream, data)
            left_after_end -= len(data) if self._ended else 0

    async def _receive(self, stream: Stream, source: OutputStream) -> bytes:
        with anyio.CancelScope(deadline=self._drained_at()) as scope:
            self._receives[stream] = scope
            try:
                return await source.receive(READ_BYTES)
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                return b""
        # The time to wait is over, but what is there was written in time, however busy this machine is.
        try:
            return await source.receive_there(READ_BYTES)
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            return b""

    async def _take(self, stream: Stream, data: bytes) -> None:
        if Limit.OUTPUT in self._limits:
            return
        capture = self._captures[stream]
        offset = capture.total
        capture.write(data)
        if self._sink is not None:
            await self._sink(OutputChunk(stream, data, offset))
        if self._written() > self._request.output_limit_bytes:
            self._limits.add(Limit.OUTPUT)
            await end_command(self._process, self._request)

    def _written(self) -> int:
        return sum(capture.total for capture in self._captures.values())

    def _result(self, exited: Exit, duration_ms: float) -> CommandResult:
        stdout, stderr = self._captures[Stream.STDOUT], self._captures[Stream.STDERR]
        limits = self._limits | exited.limits
        return CommandResult(
            id=self._id,
            exit_code=exited.code,
            signal=None if exited.signal is None else _signal_name(exited.signal),
            stdout=stdout.bytes(),
            stderr=stderr.bytes(),
            stdout_bytes=stdout.total,
            stderr_bytes=stderr.total,
            truncated=bool(stdout.left_out or stderr.left_out),
            timed_out=Limit.WALL_TIME in limits,
            limits=tuple(sorted(limits)),
            duration_ms=round(duration_ms, 3),
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # Real-time signals between the named ends.
