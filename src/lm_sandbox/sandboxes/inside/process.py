"""A command that runs in a sandbox, seen from the server."""

import os

from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.sandboxes.inside.pipes import PipeReader, PipeWriter
from lm_sandbox.sandboxes.inside.program import ConfinedProgram, Reins


class ConfinedProcess(ConfinedProgram):
    """Implements `Process`.

    Args:
        streams: The server's ends: standard output, standard error, and standard input or None.
        reins: What can be done with it.
    """

    def __init__(self, streams: tuple[int, int, int | None], reins: Reins) -> None:
        super().__init__(reins)
        stdout, stderr, stdin = streams
        self.stdout: ByteReceiveStream = PipeReader(stdout)
        self.stderr: ByteReceiveStream = PipeReader(stderr)
        self.stdin: ByteSendStream | None = None if stdin is None else PipeWriter(stdin)

    async def aclose(self) -> None:
        """Closes the streams."""
        await self.stdout.aclose()
        await self.stderr.aclose()
        if self.stdin is not None:
            await self.stdin.aclose()


class Pipes:
    """The pipes of one command, while it is started.

    Attributes:
        ours: The server's ends: standard output, standard error, and standard input or None.
        theirs: The command's ends, in the same order; closed by `close`.

    Args:
        stdin: Whether it gets one for its input.
    """

    def __init__(self, *, stdin: bool) -> None:
        out, error = _pipe(), _pipe()
        feed = _pipe() if stdin else None
        self.ours = (out[0], error[0], feed[1] if feed else None)
        self.theirs = [out[1], error[1], *([feed[0]] if feed else [])]
        for fd in self.ours:
            if fd is not None:
                os.set_blocking(fd, False)

    def close(self) -> None:
        """Closes the command's ends, of which it has its own copies by now."""
        for fd in self.theirs:
            os.close(fd)


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)
