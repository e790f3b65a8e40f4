"""What a killed server has left with the engine, for the one that comes after it."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.errors import SandboxFailed
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Container, Resources
from lm_sandbox.sandboxes.drivers.docker.engine import Engine
from lm_sandbox.sandboxes.drivers.docker.runs import Run, ended_runs, inherited_run, new_run
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.layout import WORKSPACE
from lm_sandbox.sandboxes.limits import Limits

RUN_LABEL = "lm-sandbox.run"
SANDBOX_LABEL = "lm-sandbox.sandbox"
SIZE = re.compile(r"(?:^|,)size=([0-9]{1,16})(?:,|$)")
# Before the names of runs, in what the launcher keeps of no sandbox.
RUN = "run/"


def labels(run: str, sandbox: SandboxId) -> dict[str, str]:
    """Returns what stands on a container, so that another server knows it again."""
    return {RUN_LABEL: run, SANDBOX_LABEL: sandbox}


def label_of(run: str) -> str:
    """Returns the label of a run's containers."""
    return f"{RUN_LABEL}={run}"


@dataclass(frozen=True, slots=True)
class Found:
    """A container of an earlier server that runs and is as it was made.

    Attributes:
        sandbox: What it is known as.
        spec: What it was made from; its variables are the container's own.
        container: What the engine says of it.
        kept: What the launcher has kept of it.
        alone: Whether the launcher is gone, too, so that what runs in it answers to nobody.
    """

    sandbox: SandboxId
    spec: SandboxSpec
    container: Container
    kept: dict[str, Kept]
    alone: bool


class Succession:
    """Holds the runs of this server and of those whose sandboxes it has taken over.

    Args:
        engine: Has the containers.
        launcher: Outlives its server, and ends the containers when no other comes.
        folder: Where runs are noted.
    """

    def __init__(self, engine: Engine, launcher: Launcher, folder: Path) -> None:
        self._engine = engine
        self._launcher = launcher
        self._folder = folder
        self._kept: defaultdict[str, dict[str, Kept]] = defaultdict(dict)
        self._inherited: list[Run] = []
        self._held: set[str] = set()

    async def runs(self) -> Sequence[Run]:
        """Returns the runs that this server has from now on, the first of them for its own sandboxes.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        for one in await self._launcher.recall():
            if one.name.startswith(RUN):
                name = one.name.removeprefix(RUN)
                self._inherited.append(inherited_run(self._folder, name, one.fds[0]))
                self._held.add(name)
            else:
                self._kept[one.sandbox][one.name] = one
        self._inherited += ended_runs(self._folder)
        runs = [new_run(self._folder), *self._inherited]
        for run in runs:
            await self._launcher.keep("", RUN + run.name, "", [run.fd])
            order = {"engine": str(self._engine.path), "label": label_of(run.name)}
            await self._launcher.ask("containers", order)
        return runs

    async def inherit(self) -> list[Found]:
        """Returns what earlier servers have left; containers that do not run or are not ours are removed.

        Raises:
            DriverUnavailable: the engine does not answer.
        """
        found = []
        # What was taken over once is this server's own.
        inherited, self._inherited = self._inherited, []
        for run in inherited:
            for listed in await self._engine.labelled(label_of(run.name)):
                one = await self._look_at(listed.id, alone=run.name not in self._held)
                if one is None:
                    await self._engine.remove(listed.id)
                else:
                    found.append(one)
        return found

    def rest(self) -> Iterator[Kept]:
        """Gives what was kept of sandboxes that are no more."""
        for kept in self._kept.values():
            yield from kept.values()

    async def _look_at(self, name: str, *, alone: bool) -> Found | None:
        try:
            container = await self._engine.inspect(name)
        except SandboxFailed:
            return None
        sandbox = (container.config.labels or {}).get(SANDBOX_LABEL)
        limits = _limits(container.resources)
        if not (container.state.running and sandbox and limits and container.resources.confined):
            return None
        spec = SandboxSpec(limits=limits)
        return Found(SandboxId(sandbox), spec, container, self._kept.pop(sandbox, {}), alone)


def _limits(kept: Resources) -> Limits | None:
    """Returns the limits as the engine holds them; None where it does not."""
    disk = SIZE.search((kept.tmpfs or {}).get(WORKSPACE, ""))
    # Docker says `nofile`, Podman `RLIMIT_NOFILE`.
    files = [one.hard for one in kept.ulimits or () if one.name.lower().removeprefix("rlimit_") == "nofile"]
    if disk is None or not files:
        return None
    size = int(disk[1])
    cpus = kept.cpus / 1e9 or Limits().cpus
    return Limits(cpus, kept.memory - size, kept.pids or 0, size, files[0], kept.cpuset)
