"""How a sandbox comes up and how it goes, whoever wants it."""

from contextlib import suppress
from dataclasses import replace

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.admission import admit_limits
from lm_sandbox.sandboxes.changing import set_egress
from lm_sandbox.sandboxes.driver import SandboxSpec
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.sandbox import NewSandbox, Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord
from lm_sandbox.sandboxes.secrets import check_secrets
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.volume_store import VolumeStore
from lm_sandbox.sandboxes.volumes import disks, require_kept, resolve


class Making:
    """Makes sandboxes and removes them, with all that belongs to each.

    Args:
        fleet: Where they go.
        snapshots: What they may start from.
        volumes: What they may have mounted; None for nothing.
    """

    def __init__(self, fleet: Fleet, snapshots: SnapshotStore, volumes: VolumeStore | None = None) -> None:
        self._fleet = fleet
        self._volumes = volumes
        self._snapshots = snapshots

    async def make(self, principal: Principal, new: NewSandbox) -> Sandbox:
        """Makes a sandbox that is ready for commands; raises as `SandboxService.create` does."""
        fleet = self._fleet
        await fleet.shares.check_sandboxes(principal, await fleet.holders.count(principal.id))
        limits = admit_limits(new.limits, fleet.settings)
        check_secrets(new.secrets, new.egress)
        origin = await self._snapshots.find(principal, new.snapshot) if new.snapshot else None
        if origin is not None and new.image is None:
            new = replace(new, image=origin.image)
        gpus = await fleet.gpus.choose(new.gpus)
        mounts = await resolve(self._volumes, principal, new.mounts)
        sandbox = fleet.registry.add(principal, new)
        sandbox.mounts = mounts
        with fleet.witness.making(principal, sandbox):
            try:
                sandbox.limits = limits
                await fleet.gpus.take(gpus)
                sandbox.gpus = gpus
                spec = SandboxSpec(limits, dict(new.env), new.image, gpus, disks(self._volumes, mounts))
                sandbox.enforced = await fleet.driver.create(sandbox.id, spec)
                if origin is not None:
                    await fleet.driver.load(sandbox.id, self._snapshots.folder(origin.id))
                await fleet.networks.give_secrets(sandbox.id, new.secrets)
                await set_egress(fleet.networks, principal, sandbox, new.egress)
                sandbox.state = SandboxState.RUNNING
                await fleet.records.add(SandboxRecord.of(sandbox))
                await require_kept(self._volumes, mounts)
            except BaseException:
                fleet.registry.forget(sandbox)
                with anyio.CancelScope(shield=True):
                    await fleet.networks.close(sandbox.id)
                    await fleet.driver.destroy(sandbox.id)
                    # It may have been written down all the same.
                    with suppress(LmSandboxError):
                        await fleet.records.remove(sandbox.id)
                fleet.gpus.give_back(sandbox.gpus)
                raise
        return sandbox

    async def remove(self, sandbox: Sandbox, reason: str) -> None:
        """Ends everything in a sandbox and removes it; does nothing where that is being done."""
        fleet = self._fleet
        # First of all: what cannot be forgotten stays as it is, for another try.
        await fleet.records.remove(sandbox.id)
        if not fleet.registry.bury(sandbox):
            return
        fleet.witness.gone(sandbox, reason)
        with anyio.CancelScope(shield=True):
            await fleet.networks.close(sandbox.id)
            try:
                await fleet.driver.destroy(sandbox.id)
            finally:
                fleet.gpus.give_back(sandbox.gpus)
            await fleet.shares.charge_seconds(sandbox.owner, sandbox.take_seconds(fleet.clock()) + 1)
        await sandbox.close_books()
