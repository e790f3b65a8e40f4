"""A terminal without a kernel: what it shows and how it ends is said by the test."""

from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.process import Exit
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec


class Keyboard(ByteSendStream):
    def __init__(self) -> None:
        self.typed = b""
        self.stuck = False

    async def send(self, item: bytes) -> None:
        if self.stuck:
            await anyio.sleep_forever()
        self.typed += item

    async def aclose(self) -> None:
        return


class Screen(ByteReceiveStream):
    def __init__(self) -> None:
        self.put, self._pieces = anyio.create_memory_object_stream[bytes](1000)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        del max_bytes
        return await self._pieces.receive()

    async def aclose(self) -> None:
        self.put.close()
        self._pieces.close()


@dataclass
class FakeTerminal:
    spec: TerminalSpec
    sizes: list[TerminalSize] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    exited: Exit | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self.keyboard = Keyboard()
        self.screen = Screen()
        self.input: ByteSendStream = self.keyboard
        self.output: ByteReceiveStream = self.screen

    async def show(self, data: bytes) -> None:
        await self.screen.put.send(data)

    def end(self, exited: Exit | None = None) -> None:
        """Ends the program; None is the end of its sandbox."""
        self.exited = exited
        self.screen.put.close()

    async def resize(self, size: TerminalSize) -> None:
        self.sizes.append(size)

    async def wait(self) -> Exit:
        if self.exited is None:
            raise SandboxFailed("gone")
        return self.exited

    async def signal(self, number: int) -> None:
        self.signals.append(number)

    async def kill(self) -> None:
        self.end(Exit(None, 9))

    async def aclose(self) -> None:
        self.closed = True
        await self.screen.aclose()
