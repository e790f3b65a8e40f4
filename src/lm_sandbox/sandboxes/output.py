"""What is kept of a command's output: bounded memory, whatever the command writes."""

from dataclasses import dataclass
from enum import StrEnum


class Stream(StrEnum):
    """Where a piece of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of output as it arrived.

    Attributes:
        stream: Where it came from.
        data: The bytes, not necessarily whole characters.
        offset: Bytes of this stream before it.
    """

    stream: Stream
    data: bytes
    offset: int


class Capture:
    """Keeps the head and the tail of one stream and counts the rest.

    Args:
        limit: The most bytes to keep, half of them head and half tail.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the stream."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Cut only at twice the limit, so that each byte is moved at most once on average.
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: len(self._tail) - self._tail_limit]

    @property
    def left_out(self) -> int:
        """Bytes between head and tail that were not kept."""
        kept = len(self._head) + min(len(self._tail), self._tail_limit)
        return self.total - kept

    def bytes(self) -> bytes:
        """Returns what was kept, with a line that tells what is missing in the middle."""
        tail = bytes(self._tail[len(self._tail) - min(len(self._tail), self._tail_limit) :])
        if not self.left_out:
            return bytes(self._head) + tail
        return bytes(self._head) + f"\n[... {self.left_out} bytes left out ...]\n".encode() + tail
