"""The Docker driver."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.driver import Adopted, Check, Enforced, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Container, EngineInfo
from lm_sandbox.sandboxes.drivers.docker.checks import check_engine, obstacle_to_direct
from lm_sandbox.sandboxes.drivers.docker.container import (
    DEFAULT_IMAGE,
    RUN_LABEL,
    container_config,
    resources,
)
from lm_sandbox.sandboxes.drivers.docker.direct import DirectSandbox, Obstacle, open_init
from lm_sandbox.sandboxes.drivers.docker.enforced import Held, describe, describe_limits
from lm_sandbox.sandboxes.drivers.docker.engine import Engine
from lm_sandbox.sandboxes.drivers.docker.executed import ExecSandbox
from lm_sandbox.sandboxes.drivers.docker.holding import require_cores
from lm_sandbox.sandboxes.drivers.docker.podman import for_podman, processes_of_a_user, write_profile
from lm_sandbox.sandboxes.drivers.docker.runs import all_runs, ended_run, held_run
from lm_sandbox.sandboxes.drivers.docker.runtimes import RuntimeKind, runtime_kind
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.neighbourhood import Neighbourhood
from lm_sandbox.sandboxes.limits import Limits

REMOVE_S = 30.0
UNSAFE = "The Docker engine gives less isolation than asked for; 'lm-sandbox doctor' says what is missing."


class DockerDriver(Neighbourhood[DirectSandbox | ExecSandbox]):
    """Makes sandboxes with a Docker engine; implements `SandboxDriver`.

    Args:
        settings: Which engine, and what it gives to every sandbox.
        runs: A folder in which this server notes what is running.
        image: What sandboxes start from that name no image.
    """

    name = "docker"

    def __init__(self, settings: DockerSettings, runs: Path, image: str | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._runs = runs
        self._image = image or DEFAULT_IMAGE
        self._run = ""
        self._exits = AsyncExitStack()
        self._engine: Engine
        self._info: EngineInfo
        self._kind: RuntimeKind
        self._profile: Path | None = None
        self._obstacle: Obstacle | None = None
        self._launcher = Launcher()

    def checks(self) -> list[Check]:
        """Asks the engine what it can and cannot give."""
        return check_engine(self._settings, self._image)

    async def __aenter__(self) -> Self:
        """Connects to the engine and removes what a killed server left behind.

        Raises:
            DriverUnavailable: a required check fails; the message names it and the fix.
        """
        for check in await anyio.to_thread.run_sync(self.checks):
            if check.required and not check.ok:
                raise DriverUnavailable(f"{check.name}: {check.detail}. {check.fix}")
        async with AsyncExitStack() as exits:
            self._engine = await exits.enter_async_context(Engine(self._settings.socket))
            self._info = await self._engine.info()
            kind = runtime_kind(self._info, self._settings.runtime)
            if kind is None:
                raise DriverUnavailable(UNSAFE)
            self._kind = kind
            self._profile = write_profile(self._runs) if self._info.podman else None
            await self._sweep()
            self._run = exits.enter_context(held_run(self._runs))
            reason = obstacle_to_direct(self._info, self._settings.runtime)
            self._obstacle = None if reason is None else Obstacle(reason)
            if self._obstacle is None:
                await exits.enter_async_context(self._launcher)
            exits.push_async_callback(self._destroy_all)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        """Makes a sandbox that is ready for commands."""
        require_cores(spec.limits, self._info)
        image = await self._engine.image(spec.image or self._image)
        config = container_config(sandbox, spec, self._settings, image=image, run=self._run)
        if self._profile is not None:
            config = for_podman(config, self._profile, processes_of_a_user())
        container = await self._engine.create(config)
        try:
            await self._engine.start(container)
            return await self._enter(sandbox, spec, await self._engine.inspect(container))
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(REMOVE_S):
                await self.destroy(sandbox)
                await self._engine.remove(container)
            raise

    async def limit(self, sandbox: SandboxId, limits: Limits) -> Mapping[str, str]:
        """Changes what a living sandbox may use."""
        made = self._find(sandbox)
        require_cores(limits, self._info)
        async with made.making_room(limits):
            await self._engine.update(made.container, resources(limits))
        kept = (await self._engine.inspect(made.container)).resources
        return describe_limits(limits, kept, self._info.cgroup_version)

    async def adopt(self) -> list[Adopted]:
        """Returns nothing: what a killed server has left was removed when this one started."""
        return []

    async def destroy(self, sandbox: SandboxId) -> None:
        """Ends every process of the sandbox and removes all that belongs to it."""
        made = self._sandboxes.pop(sandbox, None)
        if made is None:
            return
        with anyio.CancelScope(shield=True):
            await made.end()
            await self._engine.remove(made.container)

    async def _enter(self, sandbox: SandboxId, spec: SandboxSpec, container: Container) -> Enforced:
        """Finds the way into a started container, and what confines it."""
        init = self._obstacle or open_init(container)
        made: DirectSandbox | ExecSandbox
        if isinstance(init, Obstacle):
            entry = f"docker exec: {init.reason}"
            made = ExecSandbox(sandbox, container.id, self._engine)
        else:
            entry = "zygote"
            made = DirectSandbox(sandbox, spec, container, init, self._launcher)
        self._sandboxes[sandbox] = made
        confinement = await made.confinement()
        held = Held(container.resources, confinement, self._kind, self._info.cgroup_version, entry)
        if not held.complete:
            raise DriverUnavailable(UNSAFE)
        return describe(spec, held)

    async def _sweep(self) -> None:
        for path in all_runs(self._runs):
            with ended_run(path) as run:
                for container in await self._engine.labelled(f"{RUN_LABEL}={run}") if run else ():
                    await self._engine.remove(container)

    async def _destroy_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for sandbox in list(self._sandboxes):
                tasks.start_soon(self.destroy, sandbox)
