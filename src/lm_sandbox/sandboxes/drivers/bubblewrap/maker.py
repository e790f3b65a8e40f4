"""Makes one sandbox: its user, its control groups, and the bwrap that builds it."""

import json
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    LINKS,
    OWN_ETC,
    WRITABLE,
    HostView,
    interesting_paths,
    sandbox_arguments,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import bwrap_version
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox, Holding
from lm_sandbox.sandboxes.drivers.bubblewrap.uids import UidPool
from lm_sandbox.sandboxes.inside import cgroups
from lm_sandbox.sandboxes.inside.launch import Launcher, memory_file
from lm_sandbox.sandboxes.inside.layout import BYTES_PER_FILE, FEWEST_FILES
from lm_sandbox.sandboxes.inside.tree import kill_all

CREATE_S = 20.0
# The descriptors that bwrap gets are moved to these numbers, clear of all others.
FIRST_FD = 100
# Where the sandbox's tmpfs is mounted, in a mount namespace that nothing else is in.
STORAGE = "/mnt"
# The first process: it tells that the root file system is in place, then only collects orphans while it
# reads what never comes. As process 1 it is deaf to every signal from inside.
# It runs from a file that nobody may read, so nothing inside can trace it or look into its memory.
KEEP = (
    "exec {{silence}}<> <(:); echo ready >&{ready}; exec {ready}>&- {keeper}>&-; "
    "while :; do read -r -u $silence _; done"
)
INIT = ("/proc/self/fd/{keeper}", "-c", KEEP)
DISABLE_USERNS_SINCE = (0, 8)


class Maker:
    """Makes sandboxes and takes back what they had.

    Args:
        launcher: Starts bwrap and what serves a sandbox.
        uids: Lends host users; None where every sandbox has the server's own.
        groups: Where control groups are made; None where there are none.
    """

    def __init__(self, launcher: Launcher, uids: UidPool | None, groups: cgroups.Hierarchy | None) -> None:
        self._launcher = launcher
        self._uids = uids
        self._groups = groups
        self._host = _look_at_host()

    async def make(self, sandbox: SandboxId, spec: SandboxSpec) -> BubblewrapSandbox:
        """Makes a sandbox that is ready for commands.

        Raises:
            DriverUnavailable: the host refused.
            NoCapacity: no host user id is left.
        """
        uid = self._uids.lease() if self._uids else None
        group = self._group(sandbox)
        try:
            if group is not None:
                group.create(spec.limits)
            init = await self._start_init(sandbox, spec, uid, group)
            return BubblewrapSandbox(sandbox, spec, Holding(uid, group, *init), self._launcher)
        except BaseException as error:
            await self._undo(sandbox, uid, group)
            if isinstance(error, OSError):
                raise DriverUnavailable(f"The kernel refused a sandbox: {error.strerror}.") from error
            raise

    async def unmake(self, sandbox: BubblewrapSandbox) -> None:
        """Ends a sandbox and takes back what it had."""
        with anyio.CancelScope(shield=True):
            await sandbox.end()
        self._release(sandbox.uid)

    async def _start_init(
        self, sandbox: SandboxId, spec: SandboxSpec, uid: int | None, group: cgroups.Group | None
    ) -> tuple[int, int]:
        """Starts bwrap and returns a pidfd of the sandbox's init and its number."""
        with ExitStack() as fds:
            info, info_theirs = _pipe(fds)
            ready, ready_theirs = _pipe(fds)
            arguments, files = self._arguments(spec, fds)
            numbers = {"ready": FIRST_FD + 3 + len(files), "keeper": FIRST_FD + 4 + len(files)}
            order = {
                "sandbox": sandbox,
                "bwrap": _bwrap(),
                "init": [word.format(**numbers) for word in INIT],
                "uid": uid,
                "cgroups": group.paths if group else [],
                "first_fd": FIRST_FD,
                "storage": STORAGE if uid is not None else None,
                "disk_bytes": spec.limits.disk_bytes,
                "inodes": max(FEWEST_FILES, spec.limits.disk_bytes // BYTES_PER_FILE),
                "writable": list(WRITABLE),
            }
            with ExitStack() as theirs:
                for fd in (bpf := self._launcher.open_filter(), info_theirs, ready_theirs):
                    theirs.callback(os.close, fd)
                sent = [arguments, bpf, info_theirs, *files, ready_theirs, self._launcher.keeper]
                await self._launcher.ask("bwrap", order, sent)
            with anyio.move_on_after(CREATE_S):
                return await _meet_init(info, ready)
        raise DriverUnavailable("bwrap did not come up in time; the host may be overloaded.")

    def _arguments(self, spec: SandboxSpec, fds: ExitStack) -> tuple[int, list[int]]:
        files = [memory_file(name, content.encode()) for name, content in OWN_ETC.items()]
        arguments = sandbox_arguments(
            self._host,
            storage=STORAGE if self._uids else None,
            disk_bytes=spec.limits.disk_bytes,
            first_fd=FIRST_FD + 1,
        )
        packed = memory_file("arguments", b"".join(word.encode() + b"\0" for word in arguments))
        for fd in (packed, *files):
            fds.callback(os.close, fd)
        return packed, files

    def _group(self, sandbox: SandboxId) -> cgroups.Group | None:
        if self._groups is None:
            return None
        folders = {name: parent / sandbox for name, parent in self._groups.parents.items()}
        return cgroups.Group(self._groups.version, folders)

    async def _undo(self, sandbox: SandboxId, uid: int | None, group: cgroups.Group | None) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CREATE_S):
            await self._launcher.ask("abort", {"sandbox": sandbox})
            if group is not None:
                # What bwrap has started may have missed that bwrap was killed.
                await anyio.to_thread.run_sync(kill_all, group.members, lambda _: None, frozenset())
                await group.remove_when_empty()
        self._release(uid)

    def _release(self, uid: int | None) -> None:
        if uid is not None and self._uids is not None:
            self._uids.release(uid)


async def _meet_init(info: int, ready: int) -> tuple[int, int]:
    told = await _read_all(info)
    if not told:
        raise DriverUnavailable("bwrap ended at once; 'lm-sandbox doctor' says what is missing.")
    pid = int(json.loads(told)["child-pid"])
    pidfd = os.pidfd_open(pid)
    with ExitStack() as held:
        held.callback(os.close, pidfd)
        if await _read_all(ready) != b"ready\n":
            raise DriverUnavailable(
                "bwrap could not set the sandbox up; 'lm-sandbox doctor' says what is missing."
            )
        held.pop_all()
    return pidfd, pid


async def _read_all(fd: int) -> bytes:
    data = b""
    while True:
        await anyio.wait_readable(fd)
        piece = os.read(fd, 4096)
        if not piece:
            return data
        data += piece


def _pipe(fds: ExitStack) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    fds.callback(os.close, read)
    return read, write


def _look_at_host() -> HostView:
    prefix = Path(sys.prefix)
    ours = [prefix] if prefix.is_relative_to("/usr") and prefix not in _SYSTEM_PREFIXES else []
    return HostView(
        existing=frozenset(path for path in interesting_paths() if Path(path).exists()),
        links=frozenset(name for name in LINKS if Path(f"/{name}").is_symlink()),
        hidden=tuple(str(path) for path in ours),
        disable_userns=bwrap_version(_bwrap()) >= DISABLE_USERNS_SINCE,
    )


_SYSTEM_PREFIXES = (Path("/usr"), Path("/usr/local"))


def _bwrap() -> str:
    return shutil.which("bwrap") or "/usr/bin/bwrap"
