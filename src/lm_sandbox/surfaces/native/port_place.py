"""Which server in which sandbox a request is for, and for whom."""

from dataclasses import dataclass

from starlette.types import Scope

from lm_sandbox.identity.port_links import PortLink
from lm_sandbox.identity.principals import Principal


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


def by_link(link: PortLink, token: str) -> PortPlace:
    """A place that a link opens."""
    return PortPlace(link.principal, link.sandbox, link.port, f"/v1/port-links/{token}")
