"""Mounts volumes into a sandbox: file systems in files. Standard library only, as `launcher` is.

A volume is one ext4 file system in a sparse file, so the file's size is a limit that holds. In every mount
namespace it is mounted from the same loop device, as two of them would each write what the other does not
know; the kernel lets the device go with the last mount of it.
"""

import ctypes
import os
import struct
from typing import Any, NoReturn

import loops  # type: ignore[import-not-found]
import overlays  # type: ignore[import-not-found]

Message = dict[str, Any]

MS_NOSUID, MS_NODEV, MS_NOATIME = 2, 4, 1024
MNT_DETACH = 2


def mount(libc: ctypes.CDLL, request: Message, users: int | None) -> None:
    """Mounts every volume of a request below the storage, in the caller's own mount namespace.

    Args:
        libc: The C library.
        request: What is to be mounted: `storage`, the sandbox's `uid` here and `inside`, and `volumes`, each
            with `disk` and `read_only`.
        users: The user namespace of the sandbox's users; None for a sandbox with one.

    Raises:
        OSError: the text says at which step.
    """
    if users is None:
        users = overlays.user_namespace(libc, request["uid"], request["uid"], 1, inside=request["inside"])
    for number, volume in enumerate(request["volumes"]):
        disk, place = f"{request['storage']}/disk", f"{request['storage']}/volumes/{number}"
        os.makedirs(place, 0o755)  # noqa: PTH103
        os.makedirs(disk, 0o700, exist_ok=True)  # noqa: PTH103
        _mount_disk(libc, volume["disk"], disk)
        try:
            # As it was made by mkfs, it has a folder that is nobody's here.
            _quietly_remove(f"{disk}/lost+found")
            overlays.mount_with_ids(libc, disk, place, users, read_only=volume["read_only"])
        finally:
            libc.umount2(disk.encode(), MNT_DETACH)


def make_read_only(libc: ctypes.CDLL, request: Message, namespace: int) -> NoReturn:
    """Lets what is mounted at some paths of another mount namespace only be read, and ends the process."""
    overlays.check("entering", libc.setns(namespace, overlays.CLONE_NEWNS))
    wanted = struct.pack("4Q", overlays.MOUNT_ATTR_RDONLY, 0, 0, 0)
    for path in request["paths"]:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        size = ctypes.c_size_t(len(wanted))
        number, flags = overlays.SYS_MOUNT_SETATTR, overlays.AT_EMPTY_PATH
        overlays.check("volume", libc.syscall(number, place, b"", flags, wanted, size))
    os._exit(0)


def _mount_disk(libc: ctypes.CDLL, path: str, target: str) -> None:
    device, name = loops.open_device(path)
    try:
        flags = MS_NOSUID | MS_NODEV | MS_NOATIME
        mounted = libc.mount(name.encode(), target.encode(), b"ext4", flags, b"discard,errors=remount-ro")
        overlays.check("volume", mounted)
    finally:
        os.close(device)


def _quietly_remove(folder: str) -> None:
    try:
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        return  # It is gone, or somebody's own.
