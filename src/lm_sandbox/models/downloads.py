"""Gets one file over HTTP: a download that was broken off goes on where it was, and its checksum is held."""

import fcntl
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import httpx

from lm_sandbox.errors import Conflict, EngineUnavailable, UpstreamError
from lm_sandbox.models.engine import PullProgress, Tell
from lm_sandbox.models.hardware import MIB

PIECE = 4 * MIB
TRIES = 5
FIRST_PAUSE_S = 0.25
WAIT = httpx.Timeout(60.0, connect=15.0)
PARTIAL = 206


@dataclass(frozen=True, slots=True)
class Download:
    """A file to get.

    Attributes:
        name: For people.
        url: Where it is.
        path: Where it goes, when it is whole.
        size: In bytes, 0 where not known.
        sha256: Its checksum, where known.
        headers: For the request; secret.
    """

    name: str
    url: str
    path: Path
    size: int
    sha256: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def part(self) -> Path:
        """Where what has come so far is kept; another content is another file."""
        return self.path.with_name(f"{self.path.name}.{(self.sha256 or 'unknown')[:16]}.part")


async def download(wanted: Download, tell: Tell) -> None:
    """Gets a file.

    Raises:
        Conflict: it is being got already.
        UpstreamError: the server refuses, or what came is damaged.
        EngineUnavailable: it does not answer, or breaks off again and again.
    """
    if wanted.path.exists():
        return
    async with _opened(wanted) as file, httpx.AsyncClient(timeout=WAIT, follow_redirects=True) as client:
        failures = 0
        while True:
            before = file.tell()
            try:
                await _receive(client, wanted, file, tell)
                break
            except httpx.HTTPError as error:
                failures = 1 if file.tell() > before else failures + 1
                if failures == TRIES:
                    raise EngineUnavailable(
                        "The hub does not answer or breaks off; pull again, and it goes on where it was."
                    ) from error
            await anyio.sleep(FIRST_PAUSE_S * 2**failures)
        await _verify(wanted, tell)
        await anyio.to_thread.run_sync(wanted.part.rename, wanted.path)


@asynccontextmanager
async def _opened(wanted: Download) -> AsyncIterator[BinaryIO]:
    """Opens what has come so far for this download alone."""

    def prepare() -> BinaryIO:
        wanted.part.parent.mkdir(parents=True, exist_ok=True)
        return wanted.part.open("ab")

    with await anyio.to_thread.run_sync(prepare) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"{wanted.name} is being pulled already.") from error
        yield file


async def _receive(client: httpx.AsyncClient, wanted: Download, file: BinaryIO, tell: Tell) -> None:
    have = file.tell()
    if wanted.size and have >= wanted.size:
        return
    headers = {**wanted.headers, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    async with client.stream("GET", wanted.url, headers=headers) as answer:
        if answer.is_error:
            raise UpstreamError(f"The hub answered {answer.status_code} for {wanted.name}.")
        if have and answer.status_code != PARTIAL:
            file.truncate(0)
        status = f"pulling {wanted.name}"
        await tell(PullProgress(status, file.tell(), wanted.size))
        try:
            async for piece in answer.aiter_bytes(PIECE):
                await anyio.to_thread.run_sync(file.write, piece)
                await tell(PullProgress(status, file.tell(), wanted.size))
        finally:
            file.flush()


async def _verify(wanted: Download, tell: Tell) -> None:
    """Holds a file to its checksum; a damaged one is removed, so that the next pull begins anew."""
    digest = hashlib.sha256()
    done = 0
    with await anyio.to_thread.run_sync(wanted.part.open, "rb") as file:
        while piece := await anyio.to_thread.run_sync(file.read, PIECE):
            await anyio.to_thread.run_sync(digest.update, piece)
            done += len(piece)
            await tell(PullProgress("verifying sha256", done, wanted.size))
    whole = not wanted.size or done == wanted.size
    if not whole or digest.hexdigest() != (wanted.sha256 or digest.hexdigest()):
        wanted.part.unlink()
        raise UpstreamError(f"{wanted.name} came damaged, as its checksum says; pull it again.")
