"""Control groups: where ours can be made, what values hold the limits, and what was hit.

Version 1 (one hierarchy a controller), version 2 (one for all), or neither.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from lm_sandbox.sandboxes.driver import Stats
from lm_sandbox.sandboxes.inside.cgroup_use import Used, count, stats_v1, stats_v2, used
from lm_sandbox.sandboxes.limits import Limit, Limits

CONTROLLERS = ("cpu", "memory", "pids")
# Version 1 has these on their own; without them nothing can be paused, CPU time is not told, and cores
# cannot be chosen.
EXTRA = ("freezer", "cpuacct", "cpuset")
# Older systemd delegates no more to users; without cpu the time of a sandbox is not held, and told so.
REQUIRED = ("memory", "pids")
PERIOD_US = 100_000
# A kernel without swap accounting has none.
OPTIONAL_FILES = ("memory.swap.max", "cpu.max")
OURS = re.compile(r"^lm-sandbox-(\d+)$")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where cgroups of ours are made.

    Attributes:
        version: 1 or 2.
        parents: For each controller the folder in which to make them; one for all in version 2.
    """

    version: int
    parents: Mapping[str, Path]


def find_hierarchy(proc_cgroup: str, mounts: str, *, top: bool) -> Hierarchy | None:
    """Finds where cgroups can be made, from `/proc/self/cgroup` and `/proc/self/mounts`.

    In version 2 they go to the top where that is wanted, otherwise below the cgroup that this process
    is in. None where no hierarchy has the controllers.
    """
    own = dict(_own_groups(proc_cgroup))
    unified: Path | None = None
    parents: dict[str, Path] = {}
    for line in mounts.splitlines():
        _, place, kind, options = line.split(" ")[:4]
        if kind == "cgroup2":
            unified = Path(place) if top else Path(place) / own.get("", "/").lstrip("/")
        elif kind == "cgroup":
            for controller in {*CONTROLLERS, *EXTRA} & set(options.split(",")):
                parents[controller] = Path(place) / own.get(controller, "/").lstrip("/")
    if set(CONTROLLERS) <= set(parents):
        return Hierarchy(1, parents)
    if unified is not None:
        return Hierarchy(2, dict.fromkeys((*CONTROLLERS, "cpuset"), unified))
    return None


def folders_of(proc_cgroup: str, mounts: str) -> tuple[str, ...]:
    """Returns the folders of every group that a process is in, from its `/proc/PID/cgroup`."""
    own = dict(_own_groups(proc_cgroup))
    folders = set()
    for line in mounts.splitlines():
        _, place, kind, options = line.split(" ")[:4]
        names = [""] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        folders |= {str(Path(place) / own[name].lstrip("/")) for name in names if name in own}
    return tuple(sorted(folders))


def _own_groups(proc_cgroup: str) -> list[tuple[str, str]]:
    rows = [line.split(":", 2) for line in proc_cgroup.splitlines() if line.count(":") >= 2]  # noqa: PLR2004
    return [(name, path) for _, names, path in rows for name in names.split(",")]


def values(version: int, limits: Limits) -> dict[str, str]:
    """Returns what is written into which file, and in which order.

    The writable tmpfs is charged to memory, so its size is added: filling the disk ends in "no space
    left", not in a kill.
    """
    memory = str(limits.memory_bytes + limits.disk_bytes)
    quota = str(max(1000, round(limits.cpus * PERIOD_US)))
    cores = {"cpuset/cpuset.cpus": limits.cpuset} if limits.cpuset else {}
    if version == 1:
        return {
            **cores,
            "cpu/cpu.cfs_period_us": str(PERIOD_US),
            "cpu/cpu.cfs_quota_us": quota,
            "memory/memory.limit_in_bytes": memory,
            "pids/pids.max": str(limits.pids),
        }
    return {
        **cores,
        "cpu/cpu.max": f"{quota} {PERIOD_US}",
        "memory/memory.max": memory,
        "memory/memory.swap.max": "0",
        "memory/memory.oom.group": "0",
        "pids/pids.max": str(limits.pids),
    }


@dataclass(slots=True)
class Group:
    """The cgroups of one sandbox.

    Attributes:
        version: 1 or 2.
        folders: For each controller its folder.
    """

    version: int
    folders: Mapping[str, Path]
    _counters: dict[Limit, int] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """Every folder, once."""
        return sorted({str(folder) for folder in self.folders.values()})

    def create(self, limits: Limits) -> None:
        """Makes the folders and sets the limits.

        Raises:
            OSError: the kernel refuses.
        """
        for path in self.paths:
            Path(path).mkdir(parents=True, exist_ok=True)
        self._write(limits)
        self.open()

    def change(self, before: Limits, after: Limits) -> None:
        """Sets other limits, all of them or none.

        Raises:
            OSError: the kernel refuses.
        """
        try:
            self._write(after)
        except OSError:
            with suppress(OSError):
                self._write(before)
            raise

    def _write(self, limits: Limits) -> None:
        for name, value in values(self.version, limits).items():
            controller, file = name.split("/")
            if file not in OPTIONAL_FILES or (self.folders[controller] / file).exists():
                (self.folders[controller] / file).write_text(value)

    def open(self) -> None:
        """Opens what tells how often limits were hit.

        Raises:
            OSError: the folders are not there.
        """
        self._counters = {
            Limit.MEMORY: os.open(self._oom_file(), os.O_RDONLY | os.O_CLOEXEC),
            Limit.PIDS: os.open(self.folders["pids"] / "pids.events", os.O_RDONLY | os.O_CLOEXEC),
        }

    @property
    def holds_cpu(self) -> bool:
        """Whether CPU time is limited."""
        return self.version == 1 or (self.folders["cpu"] / "cpu.max").exists()

    @property
    def cores(self) -> str:
        """The cores that can be chosen among, or an empty text where none can."""
        place = self.folders.get("cpuset")
        return cores_below(self.version, place.parent) if place else ""

    def hits(self) -> dict[Limit, int]:
        """Counts how often each limit was hit since the group was made."""
        return {
            limit: count(os.pread(fd, 4096, 0), "oom_kill" if limit is Limit.MEMORY else "max")
            for limit, fd in self._counters.items()
        }

    def members(self) -> list[int]:
        """Lists the processes in it."""
        try:
            return [int(pid) for pid in (self.folders["pids"] / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            return []

    @property
    def can_freeze(self) -> bool:
        """Whether the processes can be halted."""
        return self.version == 2 or "freezer" in self.folders  # noqa: PLR2004 - the version's own number

    @property
    def frozen(self) -> bool:
        """Whether every process has come to a halt."""
        if self.version == 1:
            return (self.folders["freezer"] / "freezer.state").read_text().strip() == "FROZEN"
        return count((self.folders["pids"] / "cgroup.events").read_bytes(), "frozen") == 1

    def stats(self) -> Stats:
        """Reads what is used now."""
        return stats_v1(self.folders) if self.version == 1 else stats_v2(self.folders["pids"])

    def in_use(self) -> Used:
        """Reads what a limit has to leave room for."""
        return used(self.version, self.folders)

    def freeze(self, *, frozen: bool) -> None:
        """Stops or goes on with every process at once; the kernel may take a moment."""
        if self.version == 1:
            if "freezer" in self.folders:
                state = "FROZEN" if frozen else "THAWED"
                (self.folders["freezer"] / "freezer.state").write_text(state)
        else:
            (self.folders["pids"] / "cgroup.freeze").write_text(str(int(frozen)))

    def unthrottle(self) -> None:
        """Lets the processes die as fast as they can."""
        name, value = ("cpu.cfs_quota_us", "-1") if self.version == 1 else ("cpu.max", "max")
        with suppress(OSError):
            (self.folders["cpu"] / name).write_text(value)

    def forget(self) -> None:
        """Closes what `open` opened; idempotent."""
        for fd in self._counters.values():
            os.close(fd)
        self._counters = {}

    def remove(self) -> bool:
        """Removes the folders, and tells whether all are gone; not while processes are in them."""
        self.forget()
        for path in self.paths:
            with suppress(OSError):
                Path(path).rmdir()
        return not any(Path(path).exists() for path in self.paths)

    async def remove_when_empty(self, patience_s: float = 10.0) -> None:
        """Removes the folders as soon as the last process has left, which nothing tells of."""
        with anyio.move_on_after(patience_s):
            while not self.remove():  # noqa: ASYNC110 - the kernel sets no event
                await anyio.sleep(0.002)

    def _oom_file(self) -> Path:
        return self.folders["memory"] / ("memory.oom_control" if self.version == 1 else "memory.events")


def cores_below(version: int, parent: Path) -> str:
    """Returns the cores that a group in this one can be held on; an empty text where it cannot."""
    with suppress(OSError):
        if version == 1:
            return (parent / "cpuset.cpus").read_text().strip()
        # Without the controller a group has no such file; with it, cores out of range would mean all.
        if "cpuset" in (parent / "cgroup.subtree_control").read_text().split():
            return (parent / "cpuset.cpus.effective").read_text().strip()
    return ""


def prepare(hierarchy: Hierarchy) -> dict[str, Path]:
    """Makes this server's own folders, below which each sandbox gets its own.

    Raises:
        OSError: cgroups cannot be made there; the host has not delegated them.
    """
    name = f"lm-sandbox-{os.getpid()}"
    if hierarchy.version == 2:  # noqa: PLR2004 - the version's own number
        parent = hierarchy.parents["pids"]
        # All but the top of the whole tree, where alone this file is not, must be empty to be divided.
        if (parent / "cgroup.type").exists():
            _leave(parent)
        _enable(parent)
        (parent / name).mkdir(exist_ok=True)
        _enable(parent / name)
    folders = {controller: parent / name for controller, parent in hierarchy.parents.items()}
    for folder in set(folders.values()):
        folder.mkdir(exist_ok=True)
    if hierarchy.version == 1 and "cpuset" in folders and not _pass_cores_on(folders["cpuset"]):
        # It could not take a process.
        folders["cpuset"].rmdir()
        del folders["cpuset"]
    return folders


def _pass_cores_on(folder: Path) -> bool:
    """Gives a version 1 group, and each that is made in it, what its parent has: it starts with no core."""
    try:
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text((folder.parent / name).read_text())
        (folder / "cgroup.clone_children").write_text("1")
    except OSError:
        return False
    return True


def sweep(hierarchy: Hierarchy) -> None:
    """Removes what servers left behind that are no more."""
    for parent in set(hierarchy.parents.values()):
        with suppress(OSError):
            for folder in parent.iterdir():
                owner = OURS.match(folder.name)
                if owner and not Path(f"/proc/{owner[1]}").exists():
                    remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Removes a cgroup and those below it, as far as no process is in them."""
    if not folder.exists():
        return
    for child in folder.iterdir():
        if child.is_dir():
            remove_tree(child)
    with suppress(OSError):
        folder.rmdir()


def _enable(folder: Path) -> None:
    there = (folder / "cgroup.controllers").read_text().split()
    wanted = [name for name in (*CONTROLLERS, "cpuset") if name in there or name in REQUIRED]
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def _leave(folder: Path) -> None:
    """A version 2 group with processes can have no limited children, so ours move to a leaf."""
    leaf = folder / "lm-sandbox-server"
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)
