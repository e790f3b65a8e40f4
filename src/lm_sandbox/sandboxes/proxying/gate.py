"""Where one sandbox's connections pass: opened by its policy, ended when the policy changes its mind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import anyio
from anyio.abc import SocketAttribute, SocketStream

from lm_sandbox.errors import EgressDenied, Invalid
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.events import EventKind, Events
from lm_sandbox.sandboxes.hosts import Address, Authority, parse_host
from lm_sandbox.sandboxes.proxying.dialer import Dialer

# The name under which this server's model API is reached from inside.
MODELS_HOST = "lm-sandbox.internal"


@dataclass(frozen=True, slots=True, eq=False)
class _Passing:
    """A connection that is open."""

    target: Authority
    address: Address
    scope: anyio.CancelScope


class Gate:
    """Opens connections, refuses them, and remembers what it refused.

    Args:
        policy: What may be reached.
        dialer: Opens connections.
        events: Where refusals are noted.
    """

    def __init__(self, policy: EgressPolicy, dialer: Dialer, events: Events) -> None:
        self.policy = policy
        self._dialer = dialer
        self._events = events
        self._passing: set[_Passing] = set()

    def change(self, policy: EgressPolicy) -> None:
        """Takes another policy and ends every connection that it does not allow."""
        self.policy = policy
        for passing in self._passing:
            if not self._allows(passing):
                passing.scope.cancel()

    @asynccontextmanager
    async def connection(self, target: Authority) -> AsyncIterator[SocketStream]:
        """Connects; the block is left at once when the policy changes against it.

        Raises:
            EgressDenied: the policy does not allow it.
            Unreachable: nothing answers there.
        """
        policy = self.policy
        stream = await self._dialer.dial(policy, target)
        peer = stream.extra(SocketAttribute.remote_address)  # noqa: S610 - not Django's
        address = ip_address(str(peer[0]).partition("%")[0])
        with anyio.CancelScope() as scope:
            passing = _Passing(target, address, scope)
            async with stream:
                if policy is not self.policy and not self._allows(passing):
                    raise EgressDenied(f"Egress to {target} is denied: the policy has changed.")
                self._passing.add(passing)
                try:
                    yield stream
                finally:
                    self._passing.discard(passing)

    def is_known(self, name: str) -> bool:
        """Whether a name is one that the sandbox may ask for."""
        if self.leads_to_models(name):
            return True
        try:
            return self.policy.knows(parse_host(name))
        except Invalid:
            return False

    def leads_to_models(self, name: str) -> bool:
        """Whether a name is that of this server's model API, and the policy opens it."""
        return self.policy.models and name == MODELS_HOST

    def note(self, subject: str, detail: str) -> None:
        """Notes a refusal for the owner of the sandbox."""
        self._events.add(EventKind.EGRESS_DENIED, subject, detail)

    def _allows(self, passing: _Passing) -> bool:
        named = self.policy.decide(passing.target.host, passing.target.port)
        address = self.policy.decide_address(passing.address, passing.target.port, named)
        return named.allowed and address.allowed
