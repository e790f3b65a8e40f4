"""The Docker driver."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import DriverUnavailable, SandboxFailed, Unsupported
from lm_sandbox.sandboxes.driver import Adopted, Check, Enforced, RunState, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Container, EngineInfo
from lm_sandbox.sandboxes.drivers.docker.attachments import (
    Attached,
    are_mounted,
    attached,
    obstacle_to_volumes,
    read_only_paths,
    with_volumes,
)
from lm_sandbox.sandboxes.drivers.docker.checks import check_engine, obstacle_to_direct
from lm_sandbox.sandboxes.drivers.docker.container import DEFAULT_IMAGE, container_config, resources
from lm_sandbox.sandboxes.drivers.docker.direct import DirectSandbox, Obstacle, open_init
from lm_sandbox.sandboxes.drivers.docker.enforced import Held, describe, describe_limits
from lm_sandbox.sandboxes.drivers.docker.engine import Engine
from lm_sandbox.sandboxes.drivers.docker.executed import ExecSandbox
from lm_sandbox.sandboxes.drivers.docker.holding import require_cores
from lm_sandbox.sandboxes.drivers.docker.podman import for_podman, processes_of_a_user, write_profile
from lm_sandbox.sandboxes.drivers.docker.runs import released
from lm_sandbox.sandboxes.drivers.docker.runtimes import RuntimeKind, runtime_kind
from lm_sandbox.sandboxes.drivers.docker.succession import Found, Succession, label_of
from lm_sandbox.sandboxes.inside.launch import Launcher, Recovery
from lm_sandbox.sandboxes.inside.neighbourhood import Neighbourhood
from lm_sandbox.sandboxes.limits import Limits

REMOVE_S = 30.0
LAUNCHER = Path(__file__).with_name("container_launcher.py")
UNSAFE = "The Docker engine gives less isolation than asked for; 'lm-sandbox doctor' says what is missing."


class DockerDriver(Neighbourhood[DirectSandbox | ExecSandbox]):
    """Makes sandboxes with a Docker engine; implements `SandboxDriver`.

    Args:
        settings: Which engine, and what it gives to every sandbox.
        runs: A folder in which this server notes what is running.
        image: What sandboxes start from that name no image.
        recovery_s: How long sandboxes wait for another server when this one is killed; 0 ends them with it.
    """

    name = "docker"

    def __init__(
        self, settings: DockerSettings, runs: Path, image: str | None = None, recovery_s: float = 0
    ) -> None:
        super().__init__()
        self._settings = settings
        self._runs = runs
        self._image = image or DEFAULT_IMAGE
        self._run = ""
        self._runs_held: list[str] = []
        self._exits = AsyncExitStack()
        self._engine: Engine
        self._info: EngineInfo
        self._kind: RuntimeKind
        self._profile: Path | None = None
        self._obstacle: Obstacle | None = None
        recovery = Recovery(runs / "launchers", recovery_s) if recovery_s else None
        self._launcher = Launcher(recovery, LAUNCHER)
        self._succession: Succession

    def checks(self) -> list[Check]:
        """Asks the engine what it can and cannot give."""
        return check_engine(self._settings, self._image)

    async def __aenter__(self) -> Self:
        """Connects to the engine, and to the launcher of a server that was killed, if there is one.

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
            reason = obstacle_to_direct(self._info, self._settings.runtime)
            self._obstacle = None if reason is None else Obstacle(reason)
            await exits.enter_async_context(self._launcher)
            self._succession = Succession(self._engine, self._launcher, self._runs)
            runs = [exits.enter_context(released(run)) for run in await self._succession.runs()]
            self._run, self._runs_held = runs[0].name, [run.name for run in runs]
            exits.push_async_callback(self._destroy_all)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def create(self, sandbox: SandboxId, spec: SandboxSpec) -> Enforced:
        """Makes a sandbox that is ready for commands."""
        reason = obstacle_to_volumes(self._info, self._obstacle.reason if self._obstacle else None)
        if spec.mounts and reason is not None:
            raise Unsupported(f"The containers of this engine get no volumes: {reason}.")
        require_cores(spec.limits, self._info)
        image = await self._engine.image(spec.image or self._image)
        async with attached(spec.mounts) as volumes:
            config = container_config(sandbox, spec, self._settings, image=image, run=self._run)
            if self._profile is not None:
                config = for_podman(config, self._profile, processes_of_a_user())
            container = await self._engine.create(with_volumes(config, volumes))
            return await self._start(sandbox, spec, container, volumes)

    async def _start(
        self, sandbox: SandboxId, spec: SandboxSpec, container: str, volumes: Sequence[Attached]
    ) -> Enforced:
        """Starts a container, and makes sure that it is as asked for."""
        try:
            await self._engine.start(container)
            enforced = await self._enter(sandbox, spec, await self._engine.inspect(container))
            await self._settle(self._sandboxes[sandbox], volumes)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(REMOVE_S):
                await self.destroy(sandbox)
                await self._engine.remove(container)
            raise
        return enforced

    async def _settle(self, made: DirectSandbox | ExecSandbox, volumes: Sequence[Attached]) -> None:
        """Lets volumes that are only to be read be that, and makes sure that they are there."""
        told = ""
        if isinstance(made, DirectSandbox):
            if paths := read_only_paths(volumes):
                with made.open_mounts() as mounts:
                    await self._launcher.ask("read_only", {"paths": paths}, [mounts])
            told = made.mountinfo()
        if not are_mounted(volumes, told):
            raise Unsupported("The Docker engine has not mounted a volume as asked.")

    async def limit(self, sandbox: SandboxId, limits: Limits) -> Mapping[str, str]:
        """Changes what a living sandbox may use."""
        made = self._find(sandbox)
        require_cores(limits, self._info)
        if self._info.podman:
            raise Unsupported("Podman changes no limits of a container that lives; make another sandbox.")
        async with made.making_room(limits):
            await self._engine.update(made.container, resources(limits))
        kept = (await self._engine.inspect(made.container)).resources
        return describe_limits(limits, kept, self._info.cgroup_version)

    async def adopt(self) -> list[Adopted]:
        """Takes over what a killed server has left; what ran there without a name is ended."""
        adopted = []
        for found in await self._succession.inherit():
            try:
                adopted.append(await self._take_over(found))
            except (DriverUnavailable, SandboxFailed):
                # It is not as confined as it was, or has ended meanwhile.
                await self.destroy(found.sandbox)
                await self._engine.remove(found.container.id)
        for one in self._succession.rest():
            for fd in one.fds:
                os.close(fd)
            await self._launcher.drop(one.sandbox, one.name)
        return adopted

    async def _take_over(self, found: Found) -> Adopted:
        paused = found.container.state.paused
        if paused:
            # Nobody could look around in it.
            await self._engine.pause(found.container.id, paused=False)
        enforced = await self._enter(found.sandbox, found.spec, found.container)
        made = self._sandboxes[found.sandbox]
        if found.alone:
            await made.end_programs()
        left = await made.adopt(found.kept)
        if paused:
            await made.set_state(RunState.PAUSED)
        return Adopted(found.sandbox, enforced, left.processes, left.terminals, left.files)

    async def ended(self) -> list[SandboxId]:
        """Names the sandboxes that have died; none while the engine does not answer."""
        known = {sandbox: made.container for sandbox, made in self._sandboxes.items()}
        alive: set[str] = set()
        try:
            for run in self._runs_held:
                alive |= {one.id for one in await self._engine.labelled(label_of(run)) if one.alive}
        except DriverUnavailable:
            return []
        return [sandbox for sandbox, container in known.items() if container not in alive]

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
            made = ExecSandbox(sandbox, container.id, self._engine, self._launcher)
        else:
            entry = "zygote"
            made = DirectSandbox(sandbox, spec, container, init, self._launcher)
        self._sandboxes[sandbox] = made
        confinement = await made.confinement()
        held = Held(container.resources, confinement, self._kind, self._info.cgroup_version, entry)
        if not held.complete:
            raise DriverUnavailable(UNSAFE)
        return describe(spec, held)

    async def _destroy_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for sandbox in list(self._sandboxes):
                tasks.start_soon(self.destroy, sandbox)
        with suppress(DriverUnavailable):
            await self._launcher.ask("settled", {})
