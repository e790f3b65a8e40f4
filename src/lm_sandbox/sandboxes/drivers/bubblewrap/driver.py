"""The bubblewrap driver."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from socket import socket
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable, SandboxNotFound
from lm_sandbox.sandboxes.driver import (
    Check,
    CommandSpec,
    Door,
    Enforced,
    FileChange,
    Process,
    RunState,
    SandboxId,
    SandboxSpec,
    Stats,
)
from lm_sandbox.sandboxes.drivers.bubblewrap import cgroups
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    LINKS,
    OWN_ETC,
    WRITABLE,
    HostView,
    interesting_paths,
    sandbox_arguments,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import (
    DELEGATE_FIX,
    bwrap_version,
    check_host,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.enforced import describe
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox, Holding
from lm_sandbox.sandboxes.drivers.bubblewrap.uids import UidPool
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.inside.launch import Launcher, memory_file

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
BYTES_PER_FILE = 8192
DISABLE_USERNS_SINCE = (0, 8)


class BubblewrapDriver:
    """Makes sandboxes with bubblewrap; implements `SandboxDriver`.

    Args:
        require_cgroups: Whether a host without them is refused. Otherwise memory and processes are
            held by rlimits, which know only single processes, and CPU time is not held at all.
    """

    name = "bubblewrap"

    def __init__(self, *, require_cgroups: bool = True) -> None:
        self._require_cgroups = require_cgroups
        self._root = os.geteuid() == 0
        self._launcher = Launcher()
        self._uids = UidPool()
        self._sandboxes: dict[SandboxId, BubblewrapSandbox] = {}
        self._groups: cgroups.Hierarchy | None = None
        self._host: HostView | None = None
        self._exits = AsyncExitStack()

    def checks(self) -> list[Check]:
        """Looks at this host and tells what it can and cannot give."""
        return check_host(require_cgroups=self._require_cgroups)

    async def __aenter__(self) -> Self:
        """Starts the launcher and removes what a killed server left behind.

        Raises:
            DriverUnavailable: a required check fails; the message names it and the fix.
        """
        for check in await anyio.to_thread.run_sync(self.checks):
            if check.required and not check.ok:
                raise DriverUnavailable(f"{check.name}: {check.detail}. {check.fix}")
        self._host = _look_at_host()
        async with AsyncExitStack() as exits:
            self._groups = await anyio.to_thread.run_sync(self._prepare_cgroups)
            exits.callback(self._remove_cgroups)
            exits.callback(self._uids.close)
            await exits.enter_async_context(self._launcher)
            exits.push_async_callback(self._destroy_all)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        """Makes a sandbox that is ready for commands."""
        uid = self._uids.lease() if self._root else None
        group = self._group(sandbox)
        try:
            if group is not None:
                group.create(spec.limits)
            init = await self._start_init(sandbox, spec, uid, group)
            made = BubblewrapSandbox(sandbox, spec, Holding(uid, group, *init), self._launcher)
        except BaseException as error:
            await self._undo(sandbox, uid, group)
            if isinstance(error, OSError):
                raise DriverUnavailable(f"The kernel refused a sandbox: {error.strerror}.") from error
            raise
        self._sandboxes[sandbox] = made
        return describe(spec.limits, uid=uid, group=group)

    async def spawn(self, sandbox: SandboxId, command: CommandSpec) -> Process:
        """Starts a program in the sandbox."""
        return await self._find(sandbox).spawn(command)

    async def listen(self, sandbox: SandboxId, doors: Sequence[Door]) -> list[socket]:
        """Listens inside the sandbox."""
        return await self._find(sandbox).network.listen(doors)

    async def connect(self, sandbox: SandboxId, port: int) -> socket:
        """Connects to what listens inside the sandbox."""
        return await self._find(sandbox).network.connect(port)

    async def set_state(self, sandbox: SandboxId, state: RunState) -> None:
        """Lets the sandbox run, halts its processes, or ends them."""
        await self._find(sandbox).set_state(state)

    async def save(self, sandbox: SandboxId, folder: Path) -> int:
        """Copies the sandbox's files to a new folder."""
        return await self._find(sandbox).save(folder)

    async def load(self, sandbox: SandboxId, folder: Path) -> None:
        """Puts saved files in the place of the sandbox's own."""
        await self._find(sandbox).load(folder)

    async def changes(self, sandbox: SandboxId, folder: Path) -> list[FileChange]:
        """Tells which files are not as they were saved."""
        return await self._find(sandbox).changes(folder)

    async def stats(self, sandbox: SandboxId) -> Stats:
        """Tells what the sandbox uses now."""
        return self._find(sandbox).stats()

    def files(self, sandbox: SandboxId) -> SandboxFiles:
        """Returns the way to the sandbox's files."""
        return self._find(sandbox).files

    async def destroy(self, sandbox: SandboxId) -> None:
        """Ends every process of the sandbox and removes all that belongs to it."""
        made = self._sandboxes.pop(sandbox, None)
        if made is None:
            return
        with anyio.CancelScope(shield=True):
            await made.end()
        if made.uid is not None:
            self._uids.release(made.uid)

    def _find(self, sandbox: SandboxId) -> BubblewrapSandbox:
        made = self._sandboxes.get(sandbox)
        if made is None:
            raise SandboxNotFound(f"There is no sandbox {sandbox!r}.")
        return made

    async def _destroy_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for sandbox in list(self._sandboxes):
                tasks.start_soon(self.destroy, sandbox)

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
                "inodes": max(1024, spec.limits.disk_bytes // BYTES_PER_FILE),
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
        if self._host is None:
            raise RuntimeError("the driver is used outside its context")
        files = [memory_file(name, content.encode()) for name, content in OWN_ETC.items()]
        arguments = sandbox_arguments(
            self._host,
            storage=STORAGE if self._root else None,
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
                await group.remove_when_empty()
        if uid is not None:
            self._uids.release(uid)

    def _prepare_cgroups(self) -> cgroups.Hierarchy | None:
        found = _hierarchy(root=self._root)
        if found is None:
            return None
        cgroups.sweep(found)
        try:
            folders = cgroups.prepare(found, root=self._root)
        except OSError as error:
            if self._require_cgroups:
                raise DriverUnavailable(
                    f"control groups: the kernel refused one: {error.strerror}. {DELEGATE_FIX}"
                ) from error
            return None
        return cgroups.Hierarchy(found.version, folders)

    def _remove_cgroups(self) -> None:
        if self._groups is not None:
            for folder in set(self._groups.parents.values()):
                cgroups.remove_tree(folder)


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


def _hierarchy(*, root: bool) -> cgroups.Hierarchy | None:
    own, mounts = Path("/proc/self/cgroup"), Path("/proc/self/mounts")
    return cgroups.find_hierarchy(own.read_text(), mounts.read_text(), root=root)


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
