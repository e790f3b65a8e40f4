"""Makes one sandbox: its user, its control groups, and the bwrap that builds it."""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable, Unsupported
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    LINKS,
    OWN_ETC,
    WRITABLE,
    HostView,
    interesting_paths,
    sandbox_arguments,
    system_arguments,
    volume_arguments,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import ONLY_ROOT, bwrap_version
from lm_sandbox.sandboxes.drivers.bubblewrap.gpu_access import (
    device_arguments,
    driver_arguments,
    require_nodes,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.holding import require_cores
from lm_sandbox.sandboxes.drivers.bubblewrap.layered import LayeredSandbox, Written
from lm_sandbox.sandboxes.drivers.bubblewrap.layers import STORAGE, open_storage
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox, Holding
from lm_sandbox.sandboxes.drivers.bubblewrap.system import System
from lm_sandbox.sandboxes.drivers.bubblewrap.uids import Leases
from lm_sandbox.sandboxes.inside import cgroups
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.keeper import keeper_program
from lm_sandbox.sandboxes.inside.launch import Launcher, executable, memory_file
from lm_sandbox.sandboxes.inside.layout import BYTES_PER_FILE, FEWEST_FILES, SANDBOX_UID
from lm_sandbox.sandboxes.inside.storage import IDS
from lm_sandbox.sandboxes.inside.tree import kill_all
from lm_sandbox.sandboxes.mounts import mount_points
from lm_sandbox.sandboxes.nvidia import DriverFiles

CREATE_S = 20.0
# The descriptors that bwrap gets are moved to these numbers, clear of all others.
FIRST_FD = 100
# The first process: it tells that the root file system is in place, then only collects orphans while it
# reads what never comes. As process 1 it is deaf to every signal from inside.
# It runs from a file that nobody may read, so nothing inside can trace it or look into its memory.
KEEP = (
    "exec {{silence}}<> <(:); echo ready >&{ready}; exec {ready}>&- {keeper}>&-; "
    "while :; do read -r -u $silence _; done"
)
INIT = ("/proc/self/fd/{keeper}", "-c", KEEP)
DISABLE_USERNS_SINCE = (0, 8)
# What the launcher could not mount.
REFUSED = {
    "layers": "This host cannot mount a system that a sandbox could write to; that needs Linux 5.19 or "
    "newer, and images on ext4, xfs or btrfs",
    "volumes": "This host cannot mount a volume; that needs Linux 5.12 or newer, loop devices and ext4, "
    "which a server in a container may not have",
}
VOLUMES_NEED_ROOT = "Volumes need a server that runs as root"


@dataclass(frozen=True, slots=True)
class Lodging:
    """What a sandbox is to be made as.

    Attributes:
        sandbox: Its id.
        spec: What it is made from.
        uid: Its host user, or None for the server's own.
        group: Its control groups, where there are any.
    """

    sandbox: SandboxId
    spec: SandboxSpec
    uid: int | None
    group: cgroups.Group | None

    def order(self) -> Message:
        """Writes for the launcher what is the same for all."""
        limits = self.spec.limits
        return {
            "sandbox": self.sandbox,
            "bwrap": _bwrap(),
            "uid": self.uid,
            "inside": SANDBOX_UID,
            "cgroups": self.group.paths if self.group else [],
            "first_fd": FIRST_FD,
            "storage": STORAGE if self.uid is not None else None,
            "disk_bytes": limits.disk_bytes,
            "inodes": max(FEWEST_FILES, limits.disk_bytes // BYTES_PER_FILE),
            "writable": list(WRITABLE),
            "volumes": [{"disk": str(one.disk), "read_only": one.read_only} for one in self.spec.mounts],
        }


@dataclass(frozen=True, slots=True)
class Init:
    """A sandbox's first process, and bwrap's own, which waits for it."""

    fd: int
    pid: int
    monitor: int


class Maker:
    """Makes sandboxes and takes back what they had.

    Attributes:
        host: What is there of the host's own system.

    Args:
        launcher: Starts bwrap and what serves a sandbox.
        leases: Lends host users; None where every sandbox has the server's own.
        groups: Where control groups are made; None where there are none.
        files: What GPUs need of their driver.
    """

    def __init__(
        self,
        launcher: Launcher,
        leases: Leases | None,
        groups: cgroups.Hierarchy | None,
        files: DriverFiles | None = None,
    ) -> None:
        self._launcher = launcher
        self._leases = leases
        self._groups = groups
        self._files = files or DriverFiles()
        self.host = look_at_host()

    async def make(self, sandbox: SandboxId, spec: SandboxSpec) -> BubblewrapSandbox:
        """Makes a sandbox of the host's own system that is ready for commands.

        Raises:
            DriverUnavailable: the host refused.
            NoCapacity: no host user id is left.
            Unsupported: it is to have volumes, and the server may not mount them.
        """
        if spec.mounts and self._leases is None:
            raise Unsupported(f"{VOLUMES_NEED_ROOT}.")
        uid = self._leases.lease_user() if self._leases else None
        async with self._lodging(sandbox, spec, uid) as lodging:
            init = await self._start_init(lodging)
            holding = Holding(uid, lodging.group, init.fd, init.pid)
            return BubblewrapSandbox(sandbox, spec, holding, self._launcher)

    async def make_on(self, system: System, sandbox: SandboxId, spec: SandboxSpec) -> LayeredSandbox:
        """Makes a sandbox of another system, to which it can write.

        Raises:
            DriverUnavailable: the host refused.
            NoCapacity: no host user ids are left.
            Unsupported: the server has no right to lend a sandbox more than one user.
        """
        if self._leases is None:
            raise Unsupported(f"{ONLY_ROOT}.")
        system = system.with_folders(mount_points([mount.path for mount in spec.mounts]))
        uid = self._leases.lease_range()
        async with self._lodging(sandbox, spec, uid) as lodging:
            first_id = uid - SANDBOX_UID
            init = await self._start_init_on(system, first_id, lodging)
            with ExitStack() as held:
                held.callback(os.close, init.fd)
                storage = open_storage(init.monitor)
                held.callback(os.close, storage)
                mounts = os.open(f"/proc/{init.monitor}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                held.callback(os.close, mounts)
                holding = Holding(lodging.uid, lodging.group, init.fd, init.pid)
                written = Written(system, first_id, storage, mounts)
                made = LayeredSandbox(sandbox, spec, holding, written, self._launcher)
                held.pop_all()
            return made

    async def unmake(self, sandbox: BubblewrapSandbox) -> None:
        """Ends a sandbox and takes back what it had."""
        with anyio.CancelScope(shield=True):
            await sandbox.end()
        self._release(sandbox.uid)

    @asynccontextmanager
    async def _lodging(
        self, sandbox: SandboxId, spec: SandboxSpec, uid: int | None
    ) -> AsyncIterator[Lodging]:
        """Yields what a sandbox is made as, and undoes it where that fails."""
        group = self._group(sandbox)
        try:
            require_nodes(spec.gpus, self._files)
            require_cores(spec.limits, group.cores if group is not None and spec.limits.cpuset else "")
            if group is not None:
                group.create(spec.limits)
            yield Lodging(sandbox, spec, uid, group)
        except BaseException as error:
            await self._undo(sandbox, uid, group)
            if isinstance(error, OSError):
                raise DriverUnavailable(f"The kernel refused a sandbox: {error.strerror}.") from error
            raise

    async def _start_init(self, lodging: Lodging) -> Init:
        files = [memory_file(name, content.encode()) for name, content in OWN_ETC.items()]
        numbers = {"ready": FIRST_FD + 3 + len(files), "keeper": FIRST_FD + 4 + len(files)}
        arguments = sandbox_arguments(
            self.host,
            storage=STORAGE if self._leases else None,
            disk_bytes=lodging.spec.limits.disk_bytes,
            first_fd=FIRST_FD + 1,
            more=[
                *device_arguments(lodging.spec.gpus, self._files),
                *volume_arguments(STORAGE, lodging.spec.mounts),
            ],
        )
        order = {**lodging.order(), "init": [word.format(**numbers) for word in INIT]}
        with ExitStack() as held:
            for fd in files:
                held.callback(os.close, fd)
            return await self._run_bwrap(order, arguments, files, self._launcher.keeper)

    async def _start_init_on(self, system: System, first_id: int, lodging: Lodging) -> Init:
        program = keeper_program()
        if program is None:
            raise Unsupported("There are no sandboxes with images on a processor of this kind.")
        gpus = lodging.spec.gpus
        more = device_arguments(gpus, self._files) + driver_arguments(gpus, self._files)
        more += volume_arguments(STORAGE, lodging.spec.mounts)
        arguments = system_arguments(self.host, system, storage=STORAGE, first_fd=FIRST_FD + 1, more=more)
        init = [f"/proc/self/fd/{FIRST_FD + 4}"]
        order = {**lodging.order(), "init": init, "system": system.order(first_id, IDS)}
        with ExitStack() as held:
            keeper = executable("keeper", program)
            held.callback(os.close, keeper)
            return await self._run_bwrap(order, arguments, [], keeper)

    async def _run_bwrap(
        self, order: Message, arguments: Sequence[str], files: Sequence[int], keeper: int
    ) -> Init:
        """Starts bwrap and waits for the sandbox's init."""
        with ExitStack() as fds:
            packed = memory_file("arguments", b"".join(word.encode() + b"\0" for word in arguments))
            fds.callback(os.close, packed)
            info, info_theirs = _pipe(fds)
            ready, ready_theirs = _pipe(fds)
            with ExitStack() as theirs:
                for fd in (bpf := self._launcher.open_filter(), info_theirs, ready_theirs):
                    theirs.callback(os.close, fd)
                sent = [packed, bpf, info_theirs, *files, ready_theirs, keeper]
                monitor = (await self._launcher.ask("bwrap", order, sent))["pid"]
            with anyio.move_on_after(CREATE_S):
                return Init(*await _meet_init(info, ready), monitor)
        raise DriverUnavailable("bwrap did not come up in time; the host may be overloaded.")

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
        if uid is not None and self._leases is not None:
            self._leases.release(uid)


async def _meet_init(info: int, ready: int) -> tuple[int, int]:
    told = await _read_all(info)
    if not told:
        raise DriverUnavailable("bwrap ended at once; 'lm-sandbox doctor' says what is missing.")
    info_told = json.loads(told)
    if "refused" in info_told:
        raise Unsupported(f"{REFUSED[info_told['refused']]} ({info_told['why']}).")
    pid = int(info_told["child-pid"])
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


def look_at_host() -> HostView:
    """Looks up what the arguments depend on."""
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
