"""Turns what a file agent answers into errors and values of the seam."""

import errno
import os
import stat
from typing import Any

from lm_sandbox.errors import (
    FileConflict,
    FileNotThere,
    FileRefused,
    Invalid,
    LimitReached,
    LmSandboxError,
    Unavailable,
)
from lm_sandbox.sandboxes.files import FileInfo, FileKind
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.limits import Limit


class CrossesFileSystems(FileConflict):
    """A name cannot be moved from one file system to another; its content can."""


NOT_ALLOWED = (FileRefused, "The sandbox's user may not do this.")
REASONS: dict[int, tuple[type[LmSandboxError], str]] = {
    errno.ENOENT: (FileNotThere, "There is no such file or folder in the sandbox."),
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EROFS: NOT_ALLOWED,
    errno.EISDIR: (FileConflict, "It is a folder."),
    errno.ENOTDIR: (FileConflict, "It is no folder, or a part of the path is none."),
    errno.EEXIST: (FileConflict, "There is something already; delete it first, or overwrite."),
    errno.ENOTEMPTY: (FileConflict, "The folder is not empty; delete it recursively."),
    errno.ENXIO: (FileConflict, "It is no regular file; read or write it with a command."),
    errno.ELOOP: (FileConflict, "The path goes through too many links, or one of the kernel's own."),
    errno.EBUSY: (FileConflict, "It is in use."),
    errno.ETXTBSY: (FileConflict, "It is being run."),
    errno.EAGAIN: (FileConflict, "Another program holds the file."),
    errno.EXDEV: (CrossesFileSystems, "The path leads to another file system."),
}
MISTAKES = {
    errno.ENAMETOOLONG: "The path is too long, or nested too deeply.",
    errno.EINVAL: "This cannot be done with this path.",
}
LIMITS = {
    errno.ENOSPC: (Limit.DISK, "The sandbox's disk is full; delete files in it or ask for a larger one."),
    errno.EDQUOT: (Limit.DISK, "The sandbox's disk is full; delete files in it or ask for a larger one."),
    errno.EFBIG: (Limit.DISK, "The file would be larger than the sandbox allows."),
    errno.ENOMEM: (Limit.MEMORY, "The sandbox's memory does not allow this; end commands in it."),
    errno.EMFILE: ("open_files", "The sandbox may not hold more open files; the folder may be too deep."),
    errno.ENFILE: ("open_files", "This host cannot hold more open files."),
}
BY_NAME = {
    "pids": (Limit.PIDS, "The sandbox may not start more processes, and this needs one; end commands in it."),
    "memory": LIMITS[errno.ENOMEM],
}


def error_of(answer: Message, path: str) -> LmSandboxError:
    """Says what went wrong.

    Args:
        answer: One that has `errno` or `refused`.
        path: What was asked for.
    """
    if "refused" in answer:
        return Invalid(answer["refused"], field=answer["field"])
    if answer.get("limit") in BY_NAME:
        return _limit(*BY_NAME[answer["limit"]])
    return error_of_number(answer["errno"], path)


def error_of_number(number: int, path: str) -> LmSandboxError:
    """Says what an error number of the kernel means for a path."""
    shown = path.encode(errors="replace").decode()
    if number in LIMITS:
        return _limit(*LIMITS[number])
    if number in MISTAKES:
        return Invalid(MISTAKES[number], field="path")
    kind, text = REASONS.get(number, (Unavailable, f"The sandbox could not do this: {os.strerror(number)}."))
    return kind(f"{shown!r}: {text}")


def _limit(limit: str, message: str) -> LimitReached:
    return LimitReached(message, limit=str(limit))


def info_of(entry: list[Any]) -> FileInfo:
    """Reads what the agent tells of a file."""
    path, mode, size, modified_ns, target = entry
    return FileInfo(path, _kind(mode), size, stat.S_IMODE(mode), modified_ns, target)


def _kind(mode: int) -> FileKind:
    kinds = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.DIRECTORY, stat.S_IFLNK: FileKind.LINK}
    return kinds.get(stat.S_IFMT(mode), FileKind.OTHER)
