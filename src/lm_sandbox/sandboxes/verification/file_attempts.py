"""What hostile code lays out for the file API, so that the server works on the host's files for it."""

import io
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.errors import LmSandboxError, SandboxFailed
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.files import Copy, FileQuery, GrepQuery, MakeFolder, Move, SandboxFiles, SetMode
from lm_sandbox.sandboxes.verification.attempts import THROUGH, Attempt

GROUP = "file API"
WORK = "/workspace"
MOST_BYTES = 65_536
Use = Callable[[SandboxFiles, str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class FileAttempt:
    """One attempt by the file API.

    Attributes:
        attempt: Its name, and what is run inside before.
        path: What the server is then asked for; `{file}` stands for the secret's place on
            the host, `{name}` for its name alone.
        use: What it is asked to do; returns what it has got to read.
        after: Run inside afterwards; prints THROUGH where something is where it must not be.
        made_up: Whether anything at all that is read or done is too much.
    """

    attempt: Attempt
    path: str
    use: Use
    after: str = "true"
    made_up: bool = False


async def _read(files: SandboxFiles, path: str) -> bytes:
    async with files.read(file_path(path)) as reader:
        return await reader.read(0, MOST_BYTES)


async def _write(files: SandboxFiles, path: str) -> bytes:
    async with files.write(file_path(path), None) as writer:
        await writer.write([b"written"])
        await writer.commit()
    return b"written"


async def _append(files: SandboxFiles, path: str) -> bytes:
    async with files.append(file_path(path)) as writer:
        await writer.write([b"appended"])
    return b"appended"


async def _copy(files: SandboxFiles, path: str) -> bytes:
    await files.change(Copy(file_path(path), file_path(f"{WORK}/stolen"), overwrite=True))
    return await _read(files, f"{WORK}/stolen")


async def _move(files: SandboxFiles, path: str) -> bytes:
    await files.change(Move(file_path(path), file_path(f"{WORK}/stolen"), overwrite=True))
    return await _read(files, f"{WORK}/stolen")


async def _plant(files: SandboxFiles, path: str) -> bytes:
    await _write(files, f"{WORK}/planted")
    await files.change(Move(file_path(f"{WORK}/planted"), file_path(path), overwrite=True))
    return b""


async def _set_mode(files: SandboxFiles, path: str) -> bytes:
    await files.change(SetMode(file_path(path), 0o777))
    return b""


async def _make_folder(files: SandboxFiles, path: str) -> bytes:
    await files.change(MakeFolder(file_path(path.rpartition("/")[0] + "/evil")))
    return b""


async def _list(files: SandboxFiles, path: str) -> bytes:
    page = await files.list(FileQuery(file_path(path.rpartition("/")[0]), 1000, recursive=True))
    return b"\n".join(entry.path.encode(errors="replace") for entry in page.entries)


async def _grep(files: SandboxFiles, path: str) -> bytes:
    page = await files.grep(GrepQuery(file_path(path), ".", limit=100))
    return b"\n".join(match.text.encode(errors="replace") for match in page.matches)


async def _pack(files: SandboxFiles, path: str) -> bytes:
    async with files.pack(file_path(path)) as stream:
        packed = b""
        async for piece in stream:
            packed += piece[: MOST_BYTES - len(packed)]
        return packed


async def _unpack(files: SandboxFiles, path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    async with files.unpack(file_path(folder)) as writer:
        await writer.write(_archive(tarfile.TarInfo(name)))
        await writer.finish()
    return b""


async def _delete(files: SandboxFiles, path: str) -> bytes:
    await files.delete(file_path(path), recursive=True)
    return b""


def _archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            member.size = 2 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x\n"))
    return buffer.getvalue()


def _unpacks(*members: tarfile.TarInfo) -> Use:
    data = _archive(*members)

    async def use(files: SandboxFiles, path: str) -> bytes:
        async with files.unpack(file_path(path)) as writer:
            await writer.write(data)
            await writer.finish()
        return b""

    return use


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, 0o4755
    made.devmajor, made.devminor = 1, 3
    return made


_LINKS = {
    "a link to the file": ("ln -s $SERVER_FILE trap", f"{WORK}/trap"),
    "a link to its folder": ('ln -s "$(dirname $SERVER_FILE)" trap', f"{WORK}/trap/{{name}}"),
    "a link that climbs": ("ln -s ../../../../../..$SERVER_FILE trap", f"{WORK}/trap"),
    "a link to the root": ("ln -s / trap", f"{WORK}/trap{{file}}"),
    "a link by /proc": ("ln -s /proc/1/root trap", f"{WORK}/trap{{file}}"),
    "a link by its own process": ("ln -s /proc/self/root trap", f"{WORK}/trap{{file}}"),
    "a chain of links": ("ln -s / a; ln -s a/workspace/b trap; ln -s $SERVER_FILE b", f"{WORK}/trap"),
    "its path": ("true", "{file}"),
    "its path by way of ..": ("true", f"{WORK}/../../../..{{file}}"),
}
_USES: dict[str, Use] = {
    "read": _read, "write": _write, "append to": _append, "copy": _copy, "move": _move, "move to": _plant,
    "set the mode of": _set_mode, "make a folder beside": _make_folder, "list beside": _list, "search": _grep,
    "pack": _pack, "unpack over": _unpack, "delete": _delete,
}  # fmt: skip
_MADE_UP = (
    "/proc/self/environ", "/proc/1/environ", "/proc/self/mem", "/proc/1/mem", "/proc/1/maps", "/proc/kcore",
    "/proc/kmsg", "/proc/self/fd/3", "/proc/1/fd/0", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
    "/proc/self/uid_map", "/dev/mem", "/dev/kmsg", "/dev/ptmx", "/sys/kernel/uevent_helper",
)  # fmt: skip
_ARCHIVES = {
    "that climbs": [_member("../evil")],
    "of an absolute path": [_member("/workspace/evil")],
    "that climbs from below": [_member("a/../../evil")],
    "through a link that is there": [_member("out/workspace/evil")],
    "through a link of its own": [_member("own", tarfile.SYMTYPE, "/workspace"), _member("own/evil")],
    "through a climbing link of its own": [_member("own", tarfile.SYMTYPE, ".."), _member("own/evil")],
    "with a hard link outwards": [_member("hard", tarfile.LNKTYPE, "../outside"), _member("hard")],
    "with a device": [_member("null", tarfile.CHRTYPE)],
    "with a disk": [_member("disk", tarfile.BLKTYPE)],
}
# What an earlier attempt has made at that place is the sandbox's own.
_LAY = f'cd {WORK}; find . -mindepth 1 -delete; rm -rf "$(dirname $SERVER_FILE)"; '
_BOX = "mkdir box; ln -s / box/out; echo keep > outside"
_LOOK = (
    f'cd {WORK}; [ -e evil ] && echo {THROUGH}; [ "$(cat outside)" = keep ] || echo {THROUGH}; '
    f'[ -z "$(find . -type b -o -type c)" ] || echo {THROUGH}'
)
FILE_ATTEMPTS = [
    *(FileAttempt(Attempt(GROUP, f"{verb} {link}", _LAY + lay), path, use)
      for link, (lay, path) in _LINKS.items() for verb, use in _USES.items()),
    *(FileAttempt(Attempt(GROUP, f"{verb} {path}", "true"), path, use, made_up=True)
      for path in _MADE_UP for verb, use in (("read", _read), ("append to", _append))),
    *(FileAttempt(Attempt(GROUP, f"unpack an archive {name}", _LAY + _BOX), f"{WORK}/box", _unpacks(*members), _LOOK)
      for name, members in _ARCHIVES.items()),
]  # fmt: skip


async def make(one: FileAttempt, files: SandboxFiles, file: Path) -> bytes:
    """Asks the file API for it; returns what it has given, nothing where it refused.

    Raises:
        SandboxFailed: the sandbox did not live through it.
    """
    try:
        return await one.use(files, one.path.format(file=file, name=file.name))
    except SandboxFailed:
        raise
    except LmSandboxError:
        return b""
