"""What can be changed in a sandbox while it lives."""

from dataclasses import replace

from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.admission import admit_change, admit_lifetime
from lm_sandbox.sandboxes.driver import RunState
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.limits import LimitChange
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.sandbox import ALLOWED_FROM, Change, Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord

ALIVE = (SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)


class Changing:
    """Changes sandboxes, and has the records say so.

    Args:
        fleet: Where they are.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def change(self, principal: Principal, sandbox: Sandbox, change: Change) -> None:
        """Changes what a caller may; raises as `SandboxService.change` does."""
        fleet = self._fleet
        lifetime = admit_lifetime(change.lifetime.over(sandbox.lifetime), fleet.settings)
        if change.egress is not None or change.limits is not None:
            async with sandbox.changing:
                sandbox.require(*ALIVE)
                with sandbox.noting_failure():
                    if change.limits is not None:
                        await self._limit(sandbox, change.limits)
                    if change.egress is not None:
                        await set_egress(fleet.networks, principal, sandbox, change.egress)
        if change.name is not None and change.name != sandbox.name:
            fleet.registry.check_name(sandbox.owner, change.name)
            sandbox.name = change.name
        if change.metadata is not None:
            sandbox.metadata = dict(change.metadata)
        sandbox.lifetime = lifetime
        await fleet.records.change(SandboxRecord.of(sandbox))

    async def _limit(self, sandbox: Sandbox, change: LimitChange) -> None:
        fleet = self._fleet
        limits = admit_change(change, sandbox.limits, fleet.settings)
        if limits == sandbox.limits or sandbox.enforced is None:
            return
        told = await fleet.driver.limit(sandbox.id, limits)
        sandbox.limits = limits
        sandbox.enforced = replace(sandbox.enforced, limits=told)
        await fleet.records.change(SandboxRecord.of(sandbox))

    async def set_state(self, sandbox: Sandbox, state: RunState) -> None:
        """Changes what its processes do; raises as `SandboxService.set_state` does."""
        fleet = self._fleet
        async with sandbox.changing:
            sandbox.require(*ALLOWED_FROM[state])
            with sandbox.noting_failure():
                await fleet.driver.set_state(sandbox.id, state)
            sandbox.state = SandboxState(state.value)
            sandbox.idle_since = fleet.clock()
            await fleet.records.change(SandboxRecord.of(sandbox))


async def set_egress(
    networks: Networks, principal: Principal, sandbox: Sandbox, policy: EgressPolicy
) -> None:
    """Opens and shuts ways out of a sandbox; raises as `Networks.set_policy` does."""
    await networks.set_policy(principal, sandbox.id, sandbox.owner, policy)
    sandbox.egress = policy
    if sandbox.enforced is not None:
        sandbox.enforced = replace(sandbox.enforced, network=str(policy))
