"""Keys that live in memory only: lent for a while, taken back, and gone with the server."""

import hashlib
import secrets

from lm_sandbox.identity.principals import Principal, Scope


class LentKeys:
    """Lends keys that stand for a principal, with fewer scopes than its own."""

    def __init__(self) -> None:
        self._principals: dict[bytes, Principal] = {}

    def lend(self, caller: Principal, owner: str, name: str, scopes: frozenset[Scope]) -> str:
        """Makes a key that acts as the owner, with these scopes only.

        Raises:
            Forbidden: the caller lacks one of the scopes itself.
        """
        for scope in scopes:
            caller.require(scope)
        token = f"lms_lent_{secrets.token_urlsafe(32)}"
        self._principals[_fingerprint(token)] = Principal(owner, name, scopes)
        return token

    def find(self, token: str) -> Principal | None:
        """Tells whom a key stands for; None where it was not lent or has been taken back."""
        return self._principals.get(_fingerprint(token))

    def take_back(self, token: str) -> None:
        """Makes a key worthless; idempotent."""
        self._principals.pop(_fingerprint(token), None)


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
