"""What a server leaves to the one that comes after it was killed: its sandboxes, with all that holds them."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.layered import LayeredSandbox, Written
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox, Holding
from lm_sandbox.sandboxes.drivers.bubblewrap.system import System
from lm_sandbox.sandboxes.drivers.bubblewrap.uids import Leases
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.inside.entrance import Left
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.nvidia import GpuDevice

SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Inherited:
    """A sandbox that an earlier server has left.

    Attributes:
        sandbox: As what it is known to callers.
        made: The sandbox.
        left: What it has left of the sandbox's programs.
    """

    sandbox: SandboxId
    made: BubblewrapSandbox
    left: Left


class Succession:
    """Hands sandboxes down by way of the launcher, and takes over those that were.

    Args:
        launcher: Outlives its server.
        leases: Go with them; None where every sandbox has the server's own user.
    """

    def __init__(self, launcher: Launcher, leases: Leases | None) -> None:
        self._launcher = launcher
        self._leases = leases

    async def hand_down(self, sandbox: SandboxId, made: BubblewrapSandbox, spec: SandboxSpec) -> None:
        """Has the launcher keep a sandbox.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        holding = made.holding
        group = holding.group
        note = _Note(
            known_as=sandbox,
            limits=spec.limits,
            gpus=spec.gpus,
            env=dict(spec.env),
            uid=holding.uid,
            init_pid=holding.init_pid,
            cgroup_version=group.version if group else None,
            cgroups=dict(group.folders) if group else {},
            system=made.written.system if isinstance(made, LayeredSandbox) else None,
        )
        fds = [holding.init]
        if self._leases is not None and holding.uid is not None:
            fds.append(self._leases.lease_of(holding.uid))
        if isinstance(made, LayeredSandbox):
            fds += [made.written.storage, made.written.mounts]
        await self._launcher.keep(made.id, SANDBOX, note.write(), fds)

    async def inherit(self) -> list[Inherited]:
        """Takes over what an earlier server has handed down, as far as it still lives.

        Raises:
            DriverUnavailable: the launcher is gone.
        """
        kept: defaultdict[str, dict[str, Kept]] = defaultdict(dict)
        for one in await self._launcher.recall():
            kept[one.sandbox][one.name] = one
        found = [await self._inherit(own) for own in kept.values() if SANDBOX in own]
        return [inherited for inherited in found if inherited is not None]

    async def _inherit(self, kept: dict[str, Kept]) -> Inherited | None:
        sandbox = kept[SANDBOX]
        note = _Note.read(sandbox.note)
        handles = list(sandbox.fds)
        if self._leases is not None and note.uid is not None:
            self._leases.adopt(note.uid, handles.pop(1))
        made = None
        with suppress(OSError):
            made = self._make(sandbox.sandbox, handles, note)
        if made is None:
            for one in kept.values():
                for fd in one.fds if one is not sandbox else handles:
                    os.close(fd)
            await self._launcher.ask("forget", {"sandbox": sandbox.sandbox})
            return None
        return Inherited(SandboxId(note.known_as), made, await made.adopt(kept))

    def _make(self, sandbox: str, handles: Sequence[int], note: "_Note") -> BubblewrapSandbox:
        group = None
        if note.cgroup_version is not None:
            group = Group(note.cgroup_version, note.cgroups)
            group.open()
        spec = SandboxSpec(limits=note.limits, env=note.env, gpus=note.gpus)
        holding = Holding(note.uid, group, handles[0], note.init_pid)
        if note.system is None or note.uid is None:
            return BubblewrapSandbox(SandboxId(sandbox), spec, holding, self._launcher)
        written = Written(note.system, note.uid - SANDBOX_UID, *handles[1:])
        return LayeredSandbox(SandboxId(sandbox), spec, holding, written, self._launcher)


@dataclass(frozen=True, slots=True)
class _Note:
    """What has to be known of a sandbox beside its descriptors."""

    known_as: str
    limits: Limits
    gpus: tuple[GpuDevice, ...]
    env: Mapping[str, str]
    uid: int | None
    init_pid: int
    cgroup_version: int | None
    cgroups: Mapping[str, Path]
    system: System | None = None

    def write(self) -> str:
        return json.dumps(
            {**asdict(self), "cgroups": {name: str(path) for name, path in self.cgroups.items()}}
        )

    @classmethod
    def read(cls, text: str) -> "_Note":
        told: dict[str, Any] = json.loads(text)
        cgroups = {name: Path(path) for name, path in told.pop("cgroups").items()}
        system = told.pop("system")
        known = System.read(system) if system else None
        gpus = tuple(GpuDevice(**gpu) for gpu in told.pop("gpus"))
        limits = Limits(**told.pop("limits"))
        return cls(limits=limits, gpus=gpus, cgroups=cgroups, system=known, **told)
