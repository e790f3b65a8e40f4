"""One sandbox: its init, its cgroups, its storage, and the way in."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anyio.to_thread

from lm_sandbox.errors import LimitInUse, Unsupported
from lm_sandbox.sandboxes.driver import FileChange, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import WRITABLE
from lm_sandbox.sandboxes.drivers.bubblewrap.enforced import describe, describe_limits
from lm_sandbox.sandboxes.drivers.bubblewrap.holding import require_held
from lm_sandbox.sandboxes.drivers.bubblewrap.layers import check_label
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.inside.entrance import ALL_NAMESPACES, Identity
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.layout import ENVIRONMENT, SANDBOX_UID, WORKSPACE
from lm_sandbox.sandboxes.inside.occupied import Occupied, Premises
from lm_sandbox.sandboxes.inside.storage import HostUser, Server
from lm_sandbox.sandboxes.inside.tree import parent_of
from lm_sandbox.sandboxes.limits import Limits, changed

# Shared memory belongs to processes, which a snapshot does not hold.
SAVED = {name: place for name, place in WRITABLE.items() if name != "shm"}


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds a sandbox on the host.

    Attributes:
        uid: Its host user id, or None for the server's own.
        group: Its cgroups, where there are any.
        init: A pidfd of its init.
        init_pid: The number of its init.
    """

    uid: int | None
    group: Group | None
    init: int
    init_pid: int


class BubblewrapSandbox(Occupied):
    """A sandbox whose init is up.

    Attributes:
        uid: Its host user, or None for the server's own.
        spec: What it is made from, with the limits that it has now.
        enforced: What holds it.
        holding: The same, by its handles.
        identity: What a command in it becomes.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        holding: What holds it; owned from now on.
        launcher: Forks its zygote.
        image_env: Variables of every command that its image has.
        label: What its files are on top of; None for the host's own system.
    """

    def __init__(  # noqa: PLR0913 - what it is made from, and what an image adds
        self,
        sandbox: SandboxId,
        spec: SandboxSpec,
        holding: Holding,
        launcher: Launcher,
        *,
        image_env: Mapping[str, str] | None = None,
        label: str | None = None,
    ) -> None:
        self.uid = holding.uid
        self._label = label
        self.spec = spec
        self.enforced = describe(spec, uid=holding.uid, group=holding.group)
        self.holding = holding
        premises = Premises(
            init=holding.init,
            init_pid=holding.init_pid,
            group=holding.group,
            owner=Server() if holding.uid is None else HostUser(holding.uid),
            places=SAVED,
            # All of them are on one.
            disks=(WORKSPACE,),
            # All others of its cgroups end when it is stopped: its own processes, and ours that serve it.
            spared=frozenset({holding.init_pid, parent_of(holding.init_pid)}),
        )
        self.identity = _identity(sandbox, spec, holding, image_env or {})
        super().__init__(self.identity, premises, launcher, spec.env)

    async def limit(self, limits: Limits) -> None:
        """Lets it use more or less; raises as `SandboxDriver.limit` does."""
        group, before = self.holding.group, self.spec.limits
        require_held(limits, changed(before, limits), group)
        async with self.making_room(limits) as held:
            try:
                await anyio.to_thread.run_sync(held.change, before, limits)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise LimitInUse("The sandbox uses more memory than that.") from error
                raise Unsupported(f"The kernel refused the limits: {error.strerror}.") from error
        self.spec = replace(self.spec, limits=limits)
        told = describe_limits(limits, own_user=self.uid is not None, group=group)
        self.enforced = replace(self.enforced, limits=told)

    async def load(self, folder: Path) -> None:
        """Ends its processes and puts saved files in the place of its own.

        Raises:
            Conflict: they are of a sandbox with another image.
        """
        check_label(folder, self._label)
        await super().load(folder)

    async def changes(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Tells which files are not as they were saved; raises as `load` does."""
        for saved in (folder, until):
            if saved is not None:
                check_label(saved, self._label)
        return await super().changes(folder, until)

    async def end(self) -> None:
        """Kills everything in it and removes what it had."""
        await super().end()
        if self.holding.group is not None:
            await self.holding.group.remove_when_empty()


def _identity(
    sandbox: SandboxId, spec: SandboxSpec, holding: Holding, image_env: Mapping[str, str]
) -> Identity:
    limits = spec.limits
    rlimits = {"RLIMIT_NOFILE": limits.open_files}
    if holding.group is None:
        rlimits |= {"RLIMIT_DATA": limits.memory_bytes, "RLIMIT_NPROC": limits.pids}
    return Identity(
        sandbox=sandbox,
        host_uid=holding.uid,
        uid=SANDBOX_UID,
        namespaces=ALL_NAMESPACES,
        cgroups=tuple(holding.group.paths) if holding.group else (),
        rlimits=rlimits,
        env={**ENVIRONMENT, **image_env},
    )
