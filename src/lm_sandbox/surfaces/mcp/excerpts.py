"""What a client is shown of output that may be of any length."""

from codecs import getincrementaldecoder
from collections.abc import Sequence

from lm_sandbox.sandboxes.output import OutputChunk, Stream
from lm_sandbox.sandboxes.output_log import LoggedChunk, OutputLog

UTF8 = getincrementaldecoder("utf-8")
# A character has up to three bytes that cannot begin one.
CONTINUED = frozenset(range(0x80, 0xC0))
MOST_CONTINUED = 3


class Decoder:
    """Makes text of output whose pieces end within characters, of each stream by itself."""

    def __init__(self) -> None:
        self._decoders = {stream: UTF8(errors="replace") for stream in Stream}

    def decode(self, chunks: Sequence[OutputChunk]) -> str:
        """Decodes what comes next; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self._decoders[chunk.stream].decode(chunk.data) for chunk in chunks)

    def end(self) -> str:
        """Decodes what is left of characters that never came to an end."""
        return "".join(decoder.decode(b"", final=True) for decoder in self._decoders.values())


async def both_ends(log: OutputLog, most: int, command_id: str) -> str:
    """Shows all output, or its head and tail with a line that says what is missing and where that is.

    Args:
        log: What the command wrote.
        most: Bytes to show.
        command_id: The command's.
    """
    total = log.total
    if total <= most:
        return text_of(await _read(log, 0, total))
    head = most - most // 2
    tail = total - most // 2
    first = text_of(await _read(log, 0, head))
    last = text_of(await _read(log, tail, total), within=True)
    return (
        f"{first}\n[... {tail - head} bytes left out; bash_output with command_id {command_id} and offset "
        f"{head} shows them ...]\n{last}"
    )


async def part(log: OutputLog, offset: int, most: int) -> tuple[str, int]:
    """Shows output from the byte number `offset` on, and returns where to go on from."""
    end = min(log.total, offset + most)
    return text_of(await _read(log, offset, end), within=True), max(offset, end)


def text_of(chunks: Sequence[OutputChunk], *, within: bool = False) -> str:
    """Decodes output; `within` where it may begin within a character."""
    if within and chunks:
        first = chunks[0]
        chunks = [OutputChunk(first.stream, _from_character(first.data), first.offset), *chunks[1:]]
    decoder = Decoder()
    return decoder.decode(chunks) + decoder.end()


async def _read(log: OutputLog, start: int, end: int) -> list[LoggedChunk]:
    found: list[LoggedChunk] = []
    while start < end and (chunks := await log.read(start)):
        for chunk in chunks:
            over = max(0, chunk.after - end)
            if over < len(chunk.data):
                data = chunk.data[: len(chunk.data) - over]
                found.append(LoggedChunk(chunk.stream, data, chunk.offset, chunk.after - over))
        start = chunks[-1].after
    return found


def _from_character(data: bytes) -> bytes:
    skipped = 0
    while skipped < min(MOST_CONTINUED, len(data)) and data[skipped] in CONTINUED:
        skipped += 1
    return data[skipped:]
