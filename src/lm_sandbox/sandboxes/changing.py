"""What can be changed in a sandbox while it lives."""

from dataclasses import replace

from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.admission import admit_lifetime
from lm_sandbox.sandboxes.driver import RunState
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.fleet import Fleet
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.sandbox import ALLOWED_FROM, Change, Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord


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
        if change.egress is not None:
            async with sandbox.changing:
                sandbox.require(SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)
                with sandbox.noting_failure():
                    await set_egress(fleet.networks, principal, sandbox, change.egress)
        lifetime = admit_lifetime(change.lifetime.over(sandbox.lifetime), fleet.settings)
        if change.name is not None and change.name != sandbox.name:
            fleet.registry.check_name(sandbox.owner, change.name)
            sandbox.name = change.name
        if change.metadata is not None:
            sandbox.metadata = dict(change.metadata)
        sandbox.lifetime = lifetime
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
