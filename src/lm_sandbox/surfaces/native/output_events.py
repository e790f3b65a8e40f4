"""The output of a command as server-sent events, from any byte on."""

from collections.abc import AsyncIterator, Awaitable, Callable

from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.output_log import LoggedChunk
from lm_sandbox.surfaces.errors import failure_of
from lm_sandbox.surfaces.native.command_schemas import CommandDetail, Encoding
from lm_sandbox.surfaces.streams import sse

Write = Callable[[bytes], Awaitable[None]]
LONGEST_CHARACTER = 4


async def write_events(command: Command, after: int, encoding: Encoding, write: Write) -> None:
    """Writes an `output` event for each piece, then `exit` or `error`.

    The id of each event is what `after` has to be for going on behind it.
    """
    if encoding is Encoding.UTF8:
        chunks = whole_characters(command.log.follow(after))
    else:
        chunks = command.log.follow(after)
    async for chunk in chunks:
        piece = {"stream": chunk.stream, "offset": chunk.offset, "data": encoding.write(chunk.data)}
        await write(sse(piece, "output", event_id=chunk.after))
    if command.failure is not None:
        failure = failure_of(command.failure)
        await write(sse({"code": failure.code, "detail": failure.message}, "error"))
    else:
        detail = CommandDetail.of_command(command, await command.captured(), encoding)
        await write(sse(detail.model_dump(mode="json"), "exit"))


async def whole_characters(chunks: AsyncIterator[LoggedChunk]) -> AsyncIterator[LoggedChunk]:
    """Cuts no character in two: the first bytes of one wait for the rest of it."""
    held: dict[Stream, LoggedChunk] = {}
    last: LoggedChunk | None = None
    async for chunk in chunks:
        before = held.pop(chunk.stream, None)
        data = before.data + chunk.data if before else chunk.data
        offset = before.offset if before else chunk.offset
        size = whole_size(data)
        if size < len(data):
            rest = len(data) - size
            held[chunk.stream] = LoggedChunk(chunk.stream, data[size:], offset + size, chunk.after - rest)
        last = chunk
        if size:
            # Whoever goes on from here must still get the bytes that wait.
            after = min([chunk.after, *(piece.after for piece in held.values())])
            yield LoggedChunk(chunk.stream, data[:size], offset, after)
    for piece in held.values():
        yield LoggedChunk(piece.stream, piece.data, piece.offset, last.after if last else piece.after)


def whole_size(data: bytes) -> int:
    """Returns how many bytes come before a UTF-8 character that is not complete yet."""
    for back in range(1, min(LONGEST_CHARACTER, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # noqa: PLR2004 - not a continuation byte
            wanted = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1  # noqa: PLR2004
            return len(data) - back if back < wanted else len(data)
    return len(data)
