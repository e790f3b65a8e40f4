"""Loop devices, by which file systems in files are mounted. Standard library only, as `launcher` is."""

import fcntl
import os
import struct

# As linux/loop.h has them.
LOOP_CONFIGURE, LOOP_GET_STATUS64, LOOP_CTL_GET_FREE = 0x4C0A, 0x4C05, 0x4C82
LO_FLAGS_AUTOCLEAR = 4
STATUS = struct.Struct("=5Q4I64s64s32s2Q")
CONFIGURE = struct.Struct(f"=2I{STATUS.size}s8Q")
DEVICE_PLACE, INODE_PLACE = 0, 1
TRIES = 16
E2FSCK = ("/usr/sbin/e2fsck", "/sbin/e2fsck")
# From this exit status on it has not mended what it found (e2fsck(8)).
UNMENDED = 4


def open_device(path: str) -> tuple[int, str]:
    """Opens the one loop device of a file, and names it; it is there for as long as it is open or mounted.

    Raises:
        OSError: the text says at which step.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # One at a time, or two would find no device and each take one.
        fcntl.flock(file, fcntl.LOCK_EX)
        # None of others is even opened: their names are not those of volumes.
        found = _device_of(file, os.path.basename(path))  # noqa: PTH119
        if found is None:
            _mend(path)
            found = _set_up(file)
        return found
    finally:
        # Told expressly, as a loop device has the same open file, for as long as it is there.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _mend(path: str) -> None:
    """Mends a file system that nobody has mounted, as far as nothing is lost by it.

    One that could not write, because the host's disk was full, would be read-only ever after.
    """
    program = next((one for one in E2FSCK if os.access(one, os.X_OK)), None)
    if program is None:
        return
    quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    pid = os.posix_spawn(program, ["e2fsck", "-p", path], {}, file_actions=quiet)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) not in range(UNMENDED):
        raise OSError(0, "volume: its file system is damaged; e2fsck on the server mends it")


def _device_of(file: int, wanted: str) -> tuple[int, str] | None:
    """Finds the loop device of a file; it is there for as long as it is open or mounted."""
    status = os.fstat(file)
    for name in sorted(os.listdir("/sys/block")):  # noqa: PTH208
        if name.startswith("loop") and _told_file(name) == wanted:
            device = _open(name)
            if device is not None:
                if _is_of(device, status):
                    return device, f"/dev/{name}"
                os.close(device)
    return None


def _told_file(name: str) -> str:
    """The last part of the path of the file behind a loop device, as it was when that was set up."""
    try:
        with open(f"/sys/block/{name}/loop/backing_file") as told:  # noqa: PTH123
            return os.path.basename(told.read().rstrip("\n"))  # noqa: PTH119
    except OSError:
        return ""


def _set_up(file: int) -> tuple[int, str]:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(TRIES):
            name = f"loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            device = _open(name)
            if device is None:
                continue
            wanted = STATUS.pack(0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_AUTOCLEAR, b"lm-sandbox", b"", b"", 0, 0)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, CONFIGURE.pack(file, 0, wanted, *[0] * 8))
            except OSError:
                # Another program has taken it in between.
                os.close(device)
            else:
                return device, f"/dev/{name}"
    finally:
        os.close(control)
    raise OSError(0, "volume: no loop device is free")


def _open(name: str) -> int | None:
    try:
        return os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None


def _is_of(device: int, file: os.stat_result) -> bool:
    told = bytearray(STATUS.size)
    try:
        fcntl.ioctl(device, LOOP_GET_STATUS64, told)
    except OSError:
        return False
    fields = STATUS.unpack(bytes(told))
    return (fields[DEVICE_PLACE], fields[INODE_PLACE]) == (_encoded(file.st_dev), file.st_ino)


def _encoded(device: int) -> int:
    """As the kernel writes a device's number for programs (huge_encode_dev, linux/kdev_t.h)."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
