"""Opens and names files as the sandbox's own user sees them.

The process is in the sandbox's mount namespace, so no link, mount or race leads out of it. What is
refused on top: the kernel's magic links, everything but regular files, and made-up files such as those
of procfs, which look at who reads them and not at who has opened them.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
SYS_OPENAT2 = 437
AT_FDCWD = -100
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x02, 0x04, 0x08, 0x10
BELOW = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
# openat2 gives up like this when something is renamed meanwhile.
TRIES = 64
MAX_LINKS = 40
# procfs, sysfs, cgroup, cgroup2, mqueue, debugfs, tracefs, securityfs, bpf, efivarfs
VIRTUAL = {0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x19800202, 0x64626720, 0x74726163, 0x73636673,
           0xCAFE4A11, 0xDE5E81E4}  # fmt: skip
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
TEMPORARY = ".lm-sandbox-{}.part"

Entry = tuple[str, int, int, int, str | None]


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_at(path: str, flags: int, *, folder: int = AT_FDCWD, resolve: int = RESOLVE_NO_MAGICLINKS) -> int:
    """Opens with the kernel's help against what a path may hide.

    Raises:
        OSError: it cannot be opened, or the path goes through what `resolve` forbids (ELOOP, EXDEV).
    """
    how = _How(flags | os.O_CLOEXEC, 0, resolve)
    number = errno.EAGAIN
    for _ in range(TRIES):
        fd: int = LIBC.syscall(SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EAGAIN:
            break
    raise OSError(number, os.strerror(number), path)


def open_below(folder: int, path: str, flags: int) -> int:
    """Opens what is really below a folder, without passing through any link."""
    return open_at(path, flags | os.O_NOFOLLOW, folder=folder, resolve=BELOW)


def open_regular(
    path: str, flags: int, *, folder: int = AT_FDCWD, resolve: int = RESOLVE_NO_MAGICLINKS
) -> int:
    """Opens a regular file and nothing else, without waiting for anyone.

    Raises:
        OSError: EISDIR for a folder, ENXIO for a pipe, socket, device or a file that the kernel makes up.
    """
    fd = open_at(path, flags | os.O_NONBLOCK | os.O_NOCTTY, folder=folder, resolve=resolve)
    try:
        check_regular(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def check_regular(fd: int) -> None:
    """Raises OSError unless it is a regular file with content of its own."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode) or _is_virtual(fd):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


def _is_virtual(fd: int) -> bool:
    buffer = ctypes.create_string_buffer(256)
    if LIBC.fstatfs(fd, buffer) != 0:
        raise OSError(ctypes.get_errno(), "statfs")
    kind = ctypes.c_long.from_buffer(buffer).value
    return kind in VIRTUAL


def settle(path: str) -> str:
    """Follows the links at the end of a path, so that what they point at is replaced and not they."""
    for _ in range(MAX_LINKS):
        try:
            target = os.readlink(path)
        except OSError:
            return path  # No link, or nothing there yet.
        path = os.path.join(os.path.dirname(path), target)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


@contextmanager
def place(path: str) -> Iterator[tuple[int, str]]:
    """Opens the folder of a path, and yields it with the name in it."""
    folder, name = split(path)
    fd = open_at(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd, name
    finally:
        os.close(fd)


def split(path: str) -> tuple[str, str]:
    """Returns the folder of a path and the name in it."""
    folder, _, name = path.rstrip("/").rpartition("/")
    return folder or "/", name or "."


def make_parents(path: str) -> None:
    """Makes the folders above a path that are missing."""
    folder = split(path)[0]
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)


def temporary_name() -> str:
    """Returns a name that nothing has yet."""
    return TEMPORARY.format(os.urandom(8).hex())


def rename(source: tuple[int, str], target: tuple[int, str], *, replace: bool) -> None:
    """Renames within one file system; without `replace` an existing target is EEXIST."""
    flags = 0 if replace else 1
    names = os.fsencode(source[1]), os.fsencode(target[1])
    if LIBC.renameat2(source[0], names[0], target[0], names[1], flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target[1])


def entry(path: str, *, name: str | None = None, folder: int = AT_FDCWD) -> Entry:
    """Describes what is at a path, a link as the link.

    Args:
        path: How it is called in the answer.
        name: Where it is from the folder; the path itself by default.
        folder: A descriptor.
    """
    name = path if name is None else name
    at = None if folder == AT_FDCWD else folder
    status = os.stat(name, dir_fd=at, follow_symlinks=False)
    target = None
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(name, dir_fd=at)
    return path, status.st_mode, status.st_size, status.st_mtime_ns, target


def entry_of(fd: int, path: str) -> Entry:
    """Describes an open file."""
    status = os.fstat(fd)
    return path, status.st_mode, status.st_size, status.st_mtime_ns, None
