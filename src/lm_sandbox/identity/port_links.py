"""Links to a port of a sandbox that need no key: signed, for one sandbox and port, and soon over."""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import time

from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.principals import Principal, Scope

PURPOSE = b"lm-sandbox port link 1\0"
LONGEST_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class PortLink:
    """What a link opens.

    Attributes:
        owner: The id of the principal that it acts for.
        sandbox: The id of the sandbox.
        port: The port in it.
        expires_at: Seconds since 1970.
    """

    owner: str
    sandbox: str
    port: int
    expires_at: float

    @property
    def principal(self) -> Principal:
        """The owner, as far as the link goes."""
        return Principal(self.owner, "link", frozenset({Scope.SANDBOXES}))


class PortLinks:
    """Signs links and reads them back.

    Args:
        secret: Shared by all processes of a server; None for one of this process's own, with which links end.
        now: Seconds since 1970.
    """

    def __init__(self, secret: bytes | None = None, now: Callable[[], float] = time) -> None:
        self._now = now
        self._secret = secret or secrets.token_bytes(32)

    def sign(self, owner: str, sandbox: str, port: int, expires_s: float) -> tuple[str, float]:
        """Makes the token of a link, and tells when it is over, in seconds since 1970."""
        link = PortLink(owner, sandbox, port, self._now() + expires_s)
        body = json.dumps(asdict(link)).encode()
        return _encode(body) + "." + _encode(self._mac(body)), link.expires_at

    def read(self, token: str) -> PortLink:
        """Returns what a token opens.

        Raises:
            Unauthenticated: it was not made here, or its time is over.
        """
        body, _, mac = token.partition(".")
        try:
            content = _decode(body)
            genuine = len(token) <= LONGEST_TOKEN and hmac.compare_digest(_decode(mac), self._mac(content))
        except (binascii.Error, ValueError):
            genuine = False
        if genuine:
            link = PortLink(**json.loads(content))
            if self._now() < link.expires_at:
                return link
        raise Unauthenticated("This link is not valid, or no longer; make a new one, or use an API key.")

    def sandbox_of(self, token: str) -> str | None:
        """Tells to which sandbox a token leads; None where it opens nothing."""
        try:
            return self.read(token).sandbox
        except Unauthenticated:
            return None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, PURPOSE + body, "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
