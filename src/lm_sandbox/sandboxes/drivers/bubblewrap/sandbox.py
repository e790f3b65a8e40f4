"""One sandbox: its init, its cgroups, its storage, and the way in."""

from dataclasses import dataclass

from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import WRITABLE
from lm_sandbox.sandboxes.drivers.bubblewrap.enforced import describe
from lm_sandbox.sandboxes.inside.cgroups import Group
from lm_sandbox.sandboxes.inside.entrance import ALL_NAMESPACES, Identity
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.layout import ENVIRONMENT, SANDBOX_UID, WORKSPACE
from lm_sandbox.sandboxes.inside.occupied import Occupied, Premises
from lm_sandbox.sandboxes.inside.storage import HostUser, Server
from lm_sandbox.sandboxes.inside.tree import parent_of

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
        enforced: What holds it.
        holding: The same, by its handles.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        holding: What holds it; owned from now on.
        launcher: Forks its zygote.
    """

    def __init__(self, sandbox: SandboxId, spec: SandboxSpec, holding: Holding, launcher: Launcher) -> None:
        self.uid = holding.uid
        self.enforced = describe(spec.limits, uid=holding.uid, group=holding.group)
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
        super().__init__(_identity(sandbox, spec, holding), premises, launcher, spec.env)

    async def end(self) -> None:
        """Kills everything in it and removes what it had."""
        await super().end()
        if self.holding.group is not None:
            await self.holding.group.remove_when_empty()


def _identity(sandbox: SandboxId, spec: SandboxSpec, holding: Holding) -> Identity:
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
        env=ENVIRONMENT,
    )
