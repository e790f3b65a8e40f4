"""Which server in which sandbox a request is for, and for whom."""

from dataclasses import dataclass, replace

from starlette.types import Scope

from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.deps import Services


@dataclass(frozen=True, slots=True)
class PortPlace:
    """A port of a sandbox, as a caller reaches it.

    Attributes:
        caller: For whom.
        sandbox: The id of the sandbox.
        port: The port in it.
        prefix: The path under which it is reached, without the final slash.
    """

    caller: Principal
    sandbox: str
    port: int
    prefix: str

    def target(self, scope: Scope) -> bytes:
        """Returns what comes after the prefix, as it was sent: nothing is decoded and encoded anew."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        rest = raw.split(b"/", self.prefix.count("/") + 1)[-1]
        query: bytes = scope["query_string"]
        return b"/" + rest + (b"?" + query if query else b"")


def by_key(caller: Principal, sandbox: str, port: int) -> PortPlace:
    """A place that the caller's own key opens."""
    return PortPlace(caller, sandbox, port, f"/v1/sandboxes/{sandbox}/ports/{port}")


async def place_of_link(services: Services, token: str) -> PortPlace:
    """A place that a link opens, as long as its owner may call.

    Raises:
        Unauthenticated: the link was not made here, or its time is over, or the owner's key works no more.
    """
    link = services.links.read(token)
    caller = replace(link.principal, quotas=await services.keys.owner_quotas(link.owner))
    return PortPlace(caller, link.sandbox, link.port, f"/v1/port-links/{token}")
