"""Mounts a sandbox's root file system from layers. Standard library only, as `launcher` is.

The layers below are read-only and owned by host ids from 0 on; mounted with the sandbox's own ids, its root
owns in them what root does. What is written goes to a layer on the sandbox's own storage.
"""

import ctypes
import os
import struct
from typing import Any, NoReturn

Message = dict[str, Any]

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_REMOUNT = 2, 4, 32
# The same on every architecture, as all calls of late.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, AT_FDCWD, AT_EMPTY_PATH, MOVE_MOUNT_F_EMPTY_PATH = 1, -100, 0x1000, 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_IDMAP = 1, 2, 4, 0x100000
# What a layer could say about others is not listened to.
OPTIONS = "redirect_dir=nofollow,metacopy=off,index=off,xino=off"


def mount(libc: ctypes.CDLL, request: Message) -> int:
    """Mounts every overlay below the storage, and returns a descriptor of the user namespace of its ids.

    The mount namespace is the caller's own. Raises OSError, whose text says at which step.
    """
    system, storage = request["system"], request["storage"]
    users = user_namespace(libc, request["uid"], system["first_id"], system["ids"])
    for number, overlay in enumerate(system["overlays"]):
        place = f"{storage}/system/{number}"
        for part in ("root", "upper", "work"):
            os.makedirs(f"{place}/{part}", 0o755)  # noqa: PTH103
            os.chown(f"{place}/{part}", system["first_id"], system["first_id"])
        for folder, mode in sorted(overlay["folders"].items()):
            _make(f"{place}/upper/{folder}", mode, system["first_id"])
        lowers = []
        for at, lower in enumerate(overlay["lowers"]):
            lowers.append(f"{place}/lower/{at}")
            os.makedirs(lowers[-1], 0o755)  # noqa: PTH103
            mount_with_ids(libc, lower, lowers[-1], users, read_only=True)
        layers = f"lowerdir={':'.join(lowers)},upperdir={place}/upper,workdir={place}/work"
        options = f"{layers},{OPTIONS}".encode()
        flags = MS_NOSUID | MS_NODEV
        check("overlay", libc.mount(b"overlay", f"{place}/root".encode(), b"overlay", flags, options))
    return users


def refresh(libc: ctypes.CDLL, request: Message, namespace: int) -> NoReturn:
    """Has the kernel forget what it remembers of overlays whose layers were changed, and ends the process."""
    check("entering", libc.setns(namespace, CLONE_NEWNS))
    for number in range(request["overlays"]):
        root = f"{request['storage']}/system/{number}/root".encode()
        check("overlay", libc.mount(None, root, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, None))
    os._exit(0)


def user_namespace(libc: ctypes.CDLL, owner: int, first: int, count: int, *, inside: int = 0) -> int:
    """Makes a user namespace that has a range of host ids, and in which no other can be made.

    Args:
        libc: The C library.
        owner: The host user to whom it belongs.
        first: The host's first id.
        count: How many ids there are.
        inside: What the first is inside; 0 is root.
    """
    up, up_theirs = os.pipe()
    down_theirs, down = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(down)
            _become_namespace(libc, owner, up_theirs, down_theirs)
        finally:
            os._exit(1)
    os.close(up_theirs)
    os.close(down_theirs)
    try:
        if os.read(up, 1) != b"1":
            raise OSError(0, "no user namespace can be made")
        for file in ("uid_map", "gid_map"):
            _write(f"/proc/{pid}/{file}", f"{inside} {first} {count}")
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        os.write(down, b"2")
        if os.read(up, 1) != b"3":
            raise OSError(0, "nested user namespaces cannot be forbidden")
    finally:
        os.close(up)
        os.close(down)
        os.waitpid(pid, 0)
    return namespace


def _become_namespace(libc: ctypes.CDLL, owner: int, up: int, down: int) -> None:
    os.setgroups([])
    os.setresgid(owner, owner, owner)
    os.setresuid(owner, owner, owner)
    check("user namespace", libc.unshare(CLONE_NEWUSER))
    os.write(up, b"1")
    if os.read(down, 1) == b"2":
        _write("/proc/sys/user/max_user_namespaces", "0")
        os.write(up, b"3")


def mount_with_ids(libc: ctypes.CDLL, source: str, target: str, users: int, *, read_only: bool) -> None:
    """Mounts a folder, without what is mounted in it, as if its files had the ids of the namespace."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = check("layer", libc.syscall(SYS_OPEN_TREE, AT_FDCWD, source.encode(), flags))
    try:
        kept_out = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if read_only else 0)
        wanted = struct.pack("4Q", kept_out | MOUNT_ATTR_IDMAP, 0, 0, users)
        size = ctypes.c_size_t(len(wanted))
        check("ids", libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, wanted, size))
        moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
        check("layer", moved)
    finally:
        os.close(tree)


def _make(path: str, mode: int, owner: int) -> None:
    os.mkdir(path)  # noqa: PTH102
    os.chmod(path, mode)  # noqa: PTH101
    os.chown(path, owner, owner)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def check(step: str, result: int) -> int:
    """Raises OSError for a system call that says that it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
    return result
