"""`lm-sandbox backup` and `restore`: all that a server keeps, in one file."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
from rich.console import Console

import lm_sandbox.app  # noqa: F401 - the tables of every module
from lm_sandbox import __version__
from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.segments import FolderLock
from lm_sandbox.cli.connection import RunningServer
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Conflict, Invalid
from lm_sandbox.parts import image_store
from lm_sandbox.storage.archives import ArchiveReader, ArchiveWriter
from lm_sandbox.storage.copying import Copied, copied, filled
from lm_sandbox.storage.database import backend_of

FORMAT = 1
MANIFEST, ROWS, FILES = "manifest.json", "database.jsonl", "files"
VOLUMES = "volumes"
# What ends with the processes that have it, and what others may be writing to.
LEFT_OUT = frozenset({"sandboxes", "conversation_sandboxes", VOLUMES})
KEPT = {"snapshots": "snapshots", "uploads": "uploads"}
SECRETS = ("api-key", "api-key.shown", "links.key")
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Told:
    """What a backup has, and how many volumes it has not."""

    rows: int
    files: int
    bytes: int
    volumes: int = 0


async def back_up(settings: Settings, file: Path, *, as_json: bool) -> int:
    """Writes a backup, also while servers are running.

    Raises:
        Conflict: the file is there already.
    """
    told = await anyio.to_thread.run_sync(_back_up, settings, file)
    text = f"{told.rows} rows and {told.files} files are in {file} ({told.bytes} bytes)."
    if told.volumes:
        text += f" {told.volumes} volumes are not; save what is in them by an archive from a sandbox."
    _print(text, told, as_json=as_json)
    return 0


async def restore(settings: Settings, file: Path, *, as_json: bool) -> int:
    """Fills an empty data directory and database from a backup.

    Raises:
        Conflict: a server runs there, or something is there already.
        Invalid: the file is no whole backup.
    """
    told = await anyio.to_thread.run_sync(_restore, settings, file)
    _print(f"{told.rows} rows and {told.files} files are restored.", told, as_json=as_json)
    return 0


def _print(text: str, told: Told, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": told.rows, "files": told.files, "bytes": told.bytes}))  # noqa: T201 - for programs
    else:
        Console(highlight=False, soft_wrap=True).print(text, markup=False)


def _back_up(settings: Settings, file: Path) -> Told:
    try:
        archive = ArchiveWriter(file)
    except FileExistsError as error:
        raise Conflict(f"{file} is there already; nothing is overwritten.") from error
    try:
        with copied(backend_of(settings.database, settings.data_dir)) as rows:
            told = _write(settings, archive, rows)
        archive.finish()
    except BaseException:
        file.unlink()
        raise
    rows_written, files, volumes = told
    return Told(rows_written, files, file.stat().st_size, volumes)


def _write(settings: Settings, archive: ArchiveWriter, rows: Copied) -> tuple[int, int, int]:
    found: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    for table, folder in KEPT.items():
        for one in rows.ids(table):
            path = settings.data_dir / folder / one
            # What was deleted since the moment of the copy is not in the backup.
            (found if path.exists() else missing).append((folder, one))
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "revision": rows.revision,
        "made_at": datetime.now(UTC).isoformat(),
        "missing": [one for _, one in missing],
        "images": [{"name": image.name, "digest": image.digest} for image in image_store(settings).all()],
    }
    archive.text(MANIFEST, json.dumps(manifest).encode())
    count = 0
    with tempfile.TemporaryFile(dir=settings.data_dir) as spool:
        for line in rows.lines(LEFT_OUT):
            count += spool.write(line) > 0
        size = spool.tell()
        spool.seek(0)
        archive.stream(ROWS, spool, size)
    for folder, one in found:
        archive.tree(f"{FILES}/{folder}/{one}", settings.data_dir / folder / one)
    for name in SECRETS:
        with suppress(FileNotFoundError):
            archive.tree(f"{FILES}/{name}", settings.data_dir / name)
    with _still_audit(audit_folder(settings.data_dir)) as audit:
        for path, size in audit:
            with path.open("rb") as source:
                archive.stream(f"{FILES}/audit/{path.name}", source, size)
    return count, len(found), len(rows.ids(VOLUMES))


@contextmanager
def _still_audit(folder: Path) -> Iterator[list[tuple[Path, int]]]:
    """Holds the audit's files as they are at one moment; servers write on meanwhile."""
    with ExitStack() as exits:
        still = Path(exits.enter_context(tempfile.TemporaryDirectory(dir=folder.parent, prefix="backup.")))
        lock = FolderLock(folder)
        exits.callback(lock.close)
        with lock.held():
            sizes = {}
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.name != LOCK:
                    # A segment is only added to, so another name for it will do; the note is written over.
                    (os.link if path.suffix == ".jsonl" else shutil.copyfile)(path, still / path.name)
                    sizes[path.name] = path.stat().st_size
        yield [(still / name, size) for name, size in sizes.items()]


def _restore(settings: Settings, file: Path) -> Told:
    if RunningServer.find(settings) is not None:
        raise Conflict("A server runs from this data directory; stop it first.")
    occupied = [name for name in (*KEPT, "audit", *SECRETS) if _is_occupied(settings.data_dir / name)]
    if occupied:
        raise Conflict(
            f"There is something in the data directory already ({occupied[0]}); nothing is overwritten."
        )
    _require_whole(file)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as exits:
        archive = ArchiveReader(file)
        exits.callback(archive.close)
        members = archive.members()
        manifest: dict[str, Any] = json.loads(archive.content(next(members)).read())
        if manifest.get("format") != FORMAT:
            raise Invalid("This backup was made by a newer lm-sandbox.")
        missing = set(manifest["missing"])
        lines = (line for line in archive.content(next(members)) if not _is_of(line, missing))
        backend = backend_of(settings.database, settings.data_dir)
        rows = exits.enter_context(filled(backend, manifest["revision"], lines))
        place = Path(
            exits.enter_context(tempfile.TemporaryDirectory(dir=settings.data_dir, prefix="restore."))
        )
        files = 0
        for member in members:
            archive.unpack(member, place)
            files += member.isfile()
        for path in sorted((place / FILES).iterdir()):
            target = settings.data_dir / path.name
            if target.is_dir():
                target.rmdir()
            path.rename(target)
    for name in (*KEPT, "audit"):
        (settings.data_dir / name).mkdir(mode=0o700, exist_ok=True)
        (settings.data_dir / name).chmod(0o700)
    return Told(rows, files, file.stat().st_size)


def _require_whole(file: Path) -> None:
    """Reads all of it, so that nothing is begun with what has no end."""
    archive = ArchiveReader(file)
    try:
        names = [member.name for member in archive.members()]
    finally:
        archive.close()
    if names[:2] != [MANIFEST, ROWS]:
        raise Invalid("This file is no backup of lm-sandbox.")


def _is_of(line: bytes, missing: set[str]) -> bool:
    return bool(missing) and json.loads(line)[1].get("id") in missing


def _is_occupied(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
