"""What passes between a caller and a server inside a sandbox, header by header. Pure.

The server inside is hostile and its pages come from this server's own origin: nothing of the caller's
that is meant for us goes in, and what comes out can do nothing in our name.
"""

from collections.abc import Iterable

from lm_sandbox.sandboxes.proxying.http_wire import Header, end_to_end

KEPT_OUT = frozenset(
    {b"authorization", b"cookie", b"expect", b"forwarded", b"host", b"origin", b"referer", b"x-api-key"}
)
KEPT_IN = frozenset(
    {
        b"alt-svc", b"clear-site-data", b"content-length", b"location", b"public-key-pins", b"refresh",
        b"referrer-policy", b"service-worker-allowed", b"set-cookie", b"strict-transport-security",
        b"x-content-type-options",
    }
)  # fmt: skip
# An origin of its own: scripts run, but see neither our cookies nor our pages.
POLICY = b"sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts"
OWN: tuple[Header, ...] = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class PortHeaders:
    """The headers of one port.

    Args:
        sandbox: The id of the sandbox.
        port: The port in it.
        prefix: The path under which callers reach it, without the final slash.
    """

    def __init__(self, sandbox: str, port: int, prefix: str) -> None:
        self._port = port
        self._prefix = prefix
        self._cookie = f"{sandbox}-{port}-".encode()

    @property
    def host(self) -> bytes:
        """How the server inside is called."""
        return b"127.0.0.1:%d" % self._port

    def inward(self, headers: Iterable[Header]) -> list[Header]:
        """Returns what the server inside gets to see: of the cookies, those that it has set itself."""
        headers = list(headers)
        passed = [
            (name, value)
            for name, value in end_to_end(headers, without=KEPT_OUT)
            if not name.startswith((b"x-forwarded-", b"sec-websocket-"))
        ]
        cookies = b"; ".join(self._own_cookies(headers))
        more = [(b"cookie", cookies)] if cookies else []
        return [(b"host", self.host), *passed, *more, (b"x-forwarded-prefix", self._prefix.encode())]

    def for_socket(self, headers: Iterable[Header]) -> list[tuple[str, str]]:
        """Returns what the server inside gets to see of a WebSocket's headers."""
        passed = (pair for pair in self.inward(headers) if pair[0] != b"host")
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in passed]

    def outward(self, headers: Iterable[Header]) -> list[Header]:
        """Returns what the caller gets to see."""
        headers = [(name.lower(), value) for name, value in headers]
        chunked = any(name == b"transfer-encoding" for name, _ in headers)
        passed = end_to_end(headers, without=KEPT_IN)
        for name, value in headers:
            if name == b"location":
                passed.append((name, self._location(value)))
            elif name == b"set-cookie":
                passed.append((name, self._set_cookie(value)))
            elif name == b"content-length" and not chunked:
                passed.append((name, value))
        return [*passed, *OWN]

    def _own_cookies(self, headers: Iterable[Header]) -> list[bytes]:
        pairs = [
            pair.strip() for name, value in headers if name.lower() == b"cookie" for pair in value.split(b";")
        ]
        return [pair.removeprefix(self._cookie) for pair in pairs if pair.startswith(self._cookie)]

    def _set_cookie(self, value: bytes) -> bytes:
        first, *attributes = value.split(b";")
        kept = [one for one in attributes if not one.strip().lower().startswith((b"path", b"domain"))]
        path = b" Path=" + self._prefix.encode() + b"/"
        return b";".join([self._cookie + first.strip(), *kept, path])

    def _location(self, value: bytes) -> bytes:
        for own in (b"http://" + self.host, b"http://localhost:%d" % self._port):
            if value == own or value.startswith(own + b"/"):
                value = value.removeprefix(own) or b"/"
        inside = value.startswith(b"/") and not value.startswith((b"//", b"/\\"))
        return self._prefix.encode() + value if inside else value
