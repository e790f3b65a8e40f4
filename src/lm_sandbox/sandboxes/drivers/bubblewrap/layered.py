"""A sandbox with an image: its system can be written to, and it has a root of its own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lm_sandbox.sandboxes.driver import FileChange, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.gpu_access import driver_env
from lm_sandbox.sandboxes.drivers.bubblewrap.layers import STORAGE, Layers
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import SAVED, BubblewrapSandbox, Holding
from lm_sandbox.sandboxes.drivers.bubblewrap.system import System
from lm_sandbox.sandboxes.inside.entrance import Entrance
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.layout import ENVIRONMENT, ROOT_CAPABILITIES, ROOT_ENVIRONMENT
from lm_sandbox.sandboxes.inside.storage import HostRange
from lm_sandbox.sandboxes.user import User


@dataclass(frozen=True, slots=True)
class Written:
    """What is written to an image.

    Attributes:
        system: The image.
        first_id: The host's id of the sandbox's root; all its ids follow.
        storage: A descriptor of where it goes.
        mounts: A descriptor of the mount namespace in which that is mounted.
    """

    system: System
    first_id: int
    storage: int
    mounts: int


class LayeredSandbox(BubblewrapSandbox):
    """A sandbox with an image whose init is up.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        holding: What holds it; owned from now on.
        written: Its system, and where what is written to it goes; owned from now on.
        launcher: Forks its zygotes.
    """

    def __init__(
        self, sandbox: SandboxId, spec: SandboxSpec, holding: Holding, written: Written, launcher: Launcher
    ) -> None:
        system = written.system
        env = {**system.env, **driver_env(spec.gpus, system.env, ENVIRONMENT["PATH"])}
        super().__init__(sandbox, spec, holding, launcher, image_env=env, label=system.label)
        self.enforced = replace(self.enforced, user="sandbox, root")
        self.written = written
        self._layers = Layers(system, SAVED, written.storage, HostRange(written.first_id))
        own = self.identity
        root = replace(own, uid=0, capabilities=ROOT_CAPABILITIES, env={**own.env, **ROOT_ENVIRONMENT})
        self._root_entrance = Entrance(launcher, root, holding.init, self)

    async def load(self, folder: Path) -> None:
        """Ends its processes and puts saved files in the place of its own."""
        await super().load(folder)
        order = {"storage": STORAGE, "overlays": len(self.written.system.overlays)}
        await self.launcher.ask("refresh", order, [self.written.mounts])

    async def end(self) -> None:
        """Kills everything in it and removes what it had."""
        await super().end()
        os.close(self.written.storage)
        os.close(self.written.mounts)

    def _entrances(self) -> Sequence[Entrance]:
        return (self._entrance, self._root_entrance)

    def _entrance_of(self, user: User) -> Entrance:
        return self._root_entrance if user is User.ROOT else self._entrance

    def _save(self, folder: Path) -> int:
        return self._layers.save(folder)

    def _load(self, folder: Path) -> None:
        self._layers.load(folder)

    def _compare(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        return list(self._layers.compare(folder, until))
