"""Which web pages may open WebSockets here: a browser lets any page try."""

from collections.abc import Sequence

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
