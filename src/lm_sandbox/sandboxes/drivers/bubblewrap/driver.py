"""The bubblewrap driver."""

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.errors import DriverUnavailable, Invalid
from lm_sandbox.sandboxes.driver import Adopted, Check, Enforced, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import DELEGATE_FIX, check_host, find_hierarchy
from lm_sandbox.sandboxes.drivers.bubblewrap.maker import Maker
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox
from lm_sandbox.sandboxes.drivers.bubblewrap.succession import Inherited, Succession
from lm_sandbox.sandboxes.drivers.bubblewrap.system import System
from lm_sandbox.sandboxes.drivers.bubblewrap.systems import ImagePlaces, Systems
from lm_sandbox.sandboxes.drivers.bubblewrap.uids import Leases
from lm_sandbox.sandboxes.drivers.bubblewrap.warm_pool import Warm, WarmPool
from lm_sandbox.sandboxes.inside import cgroups
from lm_sandbox.sandboxes.inside.launch import Launcher, Recovery
from lm_sandbox.sandboxes.inside.neighbourhood import Neighbourhood
from lm_sandbox.sandboxes.limits import Limits
from lm_sandbox.sandboxes.nvidia import DriverFiles, find_driver_files


class BubblewrapDriver(Neighbourhood[BubblewrapSandbox]):
    """Makes sandboxes with bubblewrap; implements `SandboxDriver`.

    Args:
        require_cgroups: Whether a host without them is refused. Otherwise memory and processes are
            held by rlimits, which know only single processes, and CPU time is not held at all.
        warm: How many sandboxes are made before anybody asks for them, and from what; None for none.
        recovery: How another server finds the sandboxes when this one is killed; None ends them with it.
        images: What sandboxes can be made of beside the host's own system, read-only; None for nothing.
        default_image: What they are made of that name no image; None for the host's own system, read-only.
        driver_files: Looks up what GPUs need of their driver.
    """

    name = "bubblewrap"

    def __init__(  # noqa: PLR0913 - each is a choice of its own
        self,
        *,
        require_cgroups: bool = True,
        warm: Warm | None = None,
        recovery: Recovery | None = None,
        images: ImagePlaces | None = None,
        default_image: str | None = None,
        driver_files: Callable[[], DriverFiles] = find_driver_files,
    ) -> None:
        super().__init__()
        self._images = images
        self._default_image = default_image
        self._driver_files = driver_files
        self._systems: Systems | None = None
        self._require_cgroups = require_cgroups
        self._warm = warm
        self._root = os.geteuid() == 0
        self._recovery = recovery
        self._launcher = Launcher(recovery)
        self._heirlooms: list[Launcher] = [self._launcher]
        self._leases = Leases()
        self._succession = self._succession_of(self._launcher)
        self._groups: cgroups.Hierarchy | None = None
        self._maker: Maker | None = None
        self._pool: WarmPool | None = None
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
        async with AsyncExitStack() as exits:
            self._groups = await anyio.to_thread.run_sync(self._prepare_cgroups)
            exits.callback(self._remove_cgroups)
            exits.callback(self._leases.close)
            await exits.enter_async_context(self._launcher)
            leases = self._leases if self._root else None
            files = await anyio.to_thread.run_sync(self._driver_files)
            self._maker = await anyio.to_thread.run_sync(Maker, self._launcher, leases, self._groups, files)
            self._systems = Systems(self._images, self._maker.host) if self._images else None
            exits.push_async_callback(self._destroy_all)
            if self._warm is not None and self._default_image is None:
                self._pool = await exits.enter_async_context(WarmPool(self._maker, self._warm))
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        """Makes a sandbox that is ready for commands, or takes one that was made before."""
        image = spec.image or self._default_image
        made: BubblewrapSandbox | None
        if image is not None:
            made = await self._made_by().make_on(await self._system(image), sandbox, spec)
        elif (made := self._pool.take(spec) if self._pool else None) is None:
            made = await self._made_by().make(sandbox, spec)
        self._sandboxes[sandbox] = made
        await self._succession.hand_down(sandbox, made, spec)
        return made.enforced

    async def limit(self, sandbox: SandboxId, limits: Limits) -> Mapping[str, str]:
        """Changes what a living sandbox may use, for this server and the next one."""
        made = self._find(sandbox)
        await made.limit(limits)
        succession = self._succession_of(made.launcher)
        await succession.hand_down(sandbox, made, replace(made.spec, env=made.env))
        return made.enforced.limits

    async def adopt(self) -> list[Adopted]:
        """Takes over what killed servers have left since; what ran there without a name is ended."""
        inherited: list[Inherited] = []
        while (launcher := await self._next_launcher()) is not None:
            inherited += await self._succession_of(launcher).inherit()
        self._sandboxes |= {one.sandbox: one.made for one in inherited}
        return [
            Adopted(one.sandbox, one.made.enforced, one.left.processes, one.left.terminals, one.left.files)
            for one in inherited
        ]

    async def _next_launcher(self) -> Launcher | None:
        """Gives each launcher of a dead server once: the one that this one began with, then any other."""
        if self._heirlooms:
            return self._heirlooms.pop()
        launcher = Launcher(self._recovery)
        if not await launcher.inherit():
            return None
        self._exits.push_async_exit(launcher)
        return launcher

    def _succession_of(self, launcher: Launcher) -> Succession:
        return Succession(launcher, self._leases if self._root else None)

    async def destroy(self, sandbox: SandboxId) -> None:
        """Ends every process of the sandbox and removes all that belongs to it."""
        made = self._sandboxes.pop(sandbox, None)
        if made is not None:
            await self._made_by().unmake(made)

    async def _system(self, image: str) -> System:
        if self._systems is None:
            raise Invalid("This server has no images; leave the image out.", field="image")
        return await anyio.to_thread.run_sync(self._systems.find, image)

    def _made_by(self) -> Maker:
        if self._maker is None:
            raise RuntimeError("the driver is used outside its context")
        return self._maker

    async def _destroy_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for sandbox in list(self._sandboxes):
                tasks.start_soon(self.destroy, sandbox)

    def _prepare_cgroups(self) -> cgroups.Hierarchy | None:
        found = find_hierarchy()
        if found is None:
            return None
        cgroups.sweep(found)
        try:
            folders = cgroups.prepare(found)
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
