"""Opens connections to where a policy allows: every address is looked at, and the very one dialled."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
from anyio.abc import SocketStream

from lm_sandbox.errors import EgressDenied, Unreachable
from lm_sandbox.sandboxes.egress import Decision, EgressPolicy
from lm_sandbox.sandboxes.hosts import Address, Authority

RESOLVE_S = 10.0
CONNECT_S = 8.0
MOST_TRIES = 3
LOOK_UPS_AT_ONCE = 4

Resolve = Callable[[str], Awaitable[list[Address]]]


class SystemResolver:
    """Asks the host's own resolver, a few names at a time."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, name: str) -> list[Address]:
        """Looks a name up; an empty list where there is none.

        Raises:
            Unreachable: there is no answer in time.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(LOOK_UPS_AT_ONCE)
        try:
            with anyio.fail_after(RESOLVE_S):
                return await anyio.to_thread.run_sync(
                    _look_up, name, limiter=self._limiter, abandon_on_cancel=True
                )
        except TimeoutError as error:
            raise Unreachable(f"The look-up of {name} took too long.", status=504) from error


class Dialer:
    """Opens connections for one sandbox.

    Args:
        resolve: Looks names up.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def dial(self, policy: EgressPolicy, target: Authority) -> SocketStream:
        """Connects to a host that the policy allows.

        Raises:
            EgressDenied: it does not; the message says which rule or address.
            Unreachable: nothing answers there.
        """
        named = policy.decide(target.host, target.port)
        if not named.allowed:
            raise _denied(target, named)
        if target.host.address is not None:
            addresses = [target.host.address]
        else:
            addresses = await self._resolve(target.host.text)
        if not addresses:
            raise Unreachable(f"The name {target.host} does not exist.")
        decided = [(address, _decide(policy, address, target.port, named)) for address in addresses]
        allowed = [address for address, decision in decided if decision.allowed]
        if not allowed:
            raise _denied(target, decided[0][1])
        return await _first(target, allowed[:MOST_TRIES])


def _decide(policy: EgressPolicy, address: Address, port: int, named: Decision) -> Decision:
    decision = policy.decide_address(address, port, named)
    if decision.allowed and is_own(address) and not policy.names_address(address, port):
        return Decision(False, f"{address} is the server's own address and no rule names it with this port")
    return decision


async def _first(target: Authority, addresses: list[Address]) -> SocketStream:
    problem = "it does not answer"
    for address in addresses:
        try:
            with anyio.fail_after(CONNECT_S):
                return await anyio.connect_tcp(str(address), target.port)
        except TimeoutError:
            problem = "it does not answer in time"
        except OSError as error:
            problem = error.strerror or "it does not answer"
    raise Unreachable(f"{target} cannot be reached: {problem}.")


def is_own(address: Address) -> bool:
    """Whether the address is one of this machine: nothing is sent to find out."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - its number
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
        except OSError:
            return False


def _look_up(name: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    texts = dict.fromkeys(str(row[4][0]).partition("%")[0] for row in found)
    return [ipaddress.ip_address(text) for text in texts]


def _denied(target: Authority, decision: Decision) -> EgressDenied:
    return EgressDenied(f"Egress to {target} is denied: {decision.reason}.")
