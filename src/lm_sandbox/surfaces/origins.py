"""Which web pages may open WebSockets and use MCP here: a browser lets any page try."""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from lm_sandbox.errors import Forbidden


class Origins:
    """The server's own pages, and those of origins that were named.

    Args:
        allowed: More origins, such as `https://tools.example`.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def check(self, connection: HTTPConnection) -> None:
        """Lets pass what no page has sent, or one of ours.

        Raises:
            Forbidden: a page of another origin has sent it.
        """
        origin = connection.headers.get("origin")
        if origin is None or origin.lower() in self._allowed:
            return
        host = connection.headers.get("host", "").lower()
        # Either scheme: what ends TLS in front of the server changes it.
        if not host or origin.lower() not in {f"http://{host}", f"https://{host}"}:
            raise Forbidden(f"Web pages of {origin!r} may not do this; see the setting 'allowed_origins'.")

    def check_host(self, connection: HTTPConnection) -> None:
        """Refuses a page that has come to this machine's own address by a name of its own (DNS rebinding).

        For such a page the browser takes everything here to be of its own origin.

        Raises:
            Forbidden: the name is neither this machine's own nor that of an origin that was named.
        """
        origin = connection.headers.get("origin")
        address, _ = connection.scope.get("server") or ("", None)
        if origin is None or origin.lower() in self._allowed or not _is_loopback(address):
            return
        if not _is_loopback(_host_of(connection.headers.get("host", ""))):
            raise Forbidden(f"Web pages of {origin!r} may not do this; see the setting 'allowed_origins'.")


def _host_of(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
