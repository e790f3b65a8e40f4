"""Bodies of any size, moved piece by piece."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from email.utils import formatdate

import anyio
from anyio.abc import ByteReceiveStream
from fastapi import Request

from lm_sandbox.errors import LimitReached
from lm_sandbox.sandboxes.files import FileInfo, FileReader, FileWriter
from lm_sandbox.surfaces.native.ranges import Span, parse_range
from lm_sandbox.surfaces.streams import PushResponse, Write

PIECE = 1 << 20
BINARY = "application/octet-stream"
# A sandbox's file must never be taken for a page of this server.
INERT = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}


class Shrunk(Exception):
    """The file became shorter while it was sent; the answer can only be broken off."""


def file_headers(info: FileInfo) -> dict[str, str]:
    """The headers that describe a file."""
    return {
        **INERT,
        "ETag": f'"{info.modified_ns:x}-{info.size:x}"',
        "Last-Modified": formatdate(max(0, info.modified_ns) // 1_000_000_000, usegmt=True),
        "Content-Length": str(info.size),
    }


def file_response(request: Request, reader: FileReader, held: AsyncExitStack) -> PushResponse:
    """Sends a file, or the range of it that is asked for; takes over what is held for it.

    Raises:
        HTTPException: 416, the file has nothing in the range.
    """
    info = reader.info
    headers = file_headers(info)
    wanted = request.headers.get("range")
    if request.headers.get("if-range", headers["ETag"]) not in {headers["ETag"], headers["Last-Modified"]}:
        wanted = None
    span = parse_range(wanted, info.size)
    if span is not None:
        headers |= {"Content-Length": str(span.length), "Content-Range": span.content_range(info.size)}
    status = 200 if span is None else 206
    whole = span or Span(0, info.size)
    return PushResponse(
        lambda write: _send(reader, whole, write),
        media_type=BINARY,
        status_code=status,
        headers=headers,
        held=held.pop_all(),
    )


def stream_response(
    first: bytes, stream: ByteReceiveStream, held: AsyncExitStack, media_type: str
) -> PushResponse:
    """Sends all that comes, of which the first piece has come."""

    async def produce(write: Write) -> None:
        await write(first)
        async for piece in stream:
            await write(piece)

    return PushResponse(produce, media_type=media_type, headers=INERT, held=held)


async def receive_body(request: Request, write: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
    """Hands the body on in large pieces.

    Raises:
        ClientDisconnect: the client went away before its end.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE:
            await write(pieces)
            pieces, size = [], 0
    if pieces:
        await write(pieces)


def check_room(request: Request, writer: FileWriter) -> None:
    """Refuses before the first byte what cannot fit.

    Raises:
        LimitReached: the body is said to be larger than what the disk has left.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > writer.room:
        raise LimitReached(
            f"The file has {declared} bytes, but the sandbox's disk has room for {writer.room}; delete files "
            "in it or ask for a larger one.",
            limit="disk",
        )


async def _send(reader: FileReader, span: Span, write: Write) -> None:
    offset, left = span.start, span.length
    while left:
        piece = await reader.read(offset, min(left, PIECE))
        if not piece:
            raise Shrunk
        await write(piece)
        offset += len(piece)
        left -= len(piece)
        await anyio.lowlevel.checkpoint()
