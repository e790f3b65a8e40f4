"""Issuers elsewhere, whose tokens count here: OpenID Connect, with every choice made by the settings."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
import jwt

from lm_sandbox.config.access import OidcSettings
from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.claims import Admitted, ClaimsRefused, admit
from lm_sandbox.identity.issuer_keys import IssuerKeys
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.users import Users

LONGEST = 16 * 1024
CACHED_TOKENS = 1024
# So long a token counts after its issuer has taken its key back, besides the hour that keys are kept.
CACHE_S = 300.0
# ID and access tokens say one of these, or nothing; what is for something else says so.
KINDS = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})


UNCHECKED: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}


class Issuer:
    """Reads the tokens of one issuer.

    Args:
        name: Its name in the settings.
        settings: What counts.
        keys: Its public keys.
    """

    def __init__(self, name: str, settings: OidcSettings, keys: IssuerKeys) -> None:
        self._name = name
        self._settings = settings
        self._keys = keys

    async def read(self, token: str, now: datetime) -> Admitted:
        """Returns whom a token lets in.

        Raises:
            Unauthenticated: it was not made there, is not for this server, or its time is over.
            IssuerUnavailable: the issuer does not answer.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            kind = str(header.get("typ", "")).lower()
            if algorithm not in self._settings.algorithms or kind not in KINDS or "crit" in header:
                raise jwt.InvalidTokenError("of another kind")
            found = await self._keys.find(str(header.get("kid", "")))
            if found is None or found.algorithm not in {None, algorithm}:
                raise jwt.InvalidTokenError("of no key of the issuer")
            # What is checked of the claims is ours to say, by our clock.
            claims = jwt.decode(token, found.key.key, algorithms=[algorithm], options=UNCHECKED)
            return admit(claims, self._name, self._settings, now)
        except ClaimsRefused as error:
            raise Unauthenticated(f"This token of {self._name!r} is refused. {error}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated(f"This token was not made by {self._name!r}, or is not whole.") from error


class Issuers:
    """Tells who comes with a token from elsewhere.

    Args:
        settings: The issuers, by name.
        users: Those who have come before.
        transport: Carries the requests to issuers; None for the network.
        now: The time of day.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        settings: Mapping[str, OidcSettings],
        users: Users,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._issuers = {
            one.issuer: Issuer(name, one, IssuerKeys(name, one, transport=transport, clock=clock))
            for name, one in settings.items()
        }
        self._users = users
        self._now = now
        self._cache: dict[bytes, tuple[Admitted, float]] = {}

    @property
    def addresses(self) -> list[str]:
        """What the issuers call themselves."""
        return list(self._issuers)

    def knows(self, token: str) -> bool:
        """Whether a token says that it is of one of them."""
        return self._of(token) is not None

    async def authenticate(self, token: str) -> Principal:
        """Tells who comes with a token; raises as `read` does.

        Raises:
            UserDisabled: an admin has shut this user out.
        """
        return await self._users.recognise((await self.read(token)).identity)

    async def read(self, token: str) -> Admitted:
        """Returns whom a token lets in.

        Raises:
            Unauthenticated: it was not made there, is not for this server, or its time is over.
            IssuerUnavailable: the issuer does not answer.
        """
        fingerprint = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        now = self._now()
        cached = self._cache.get(fingerprint)
        if cached is not None and cached[1] > now.timestamp():
            return cached[0]
        self._cache.pop(fingerprint, None)
        issuer = self._of(token)
        if issuer is None:
            raise Unauthenticated("This token is of no issuer that counts here.")
        admitted = await issuer.read(token, now)
        if len(self._cache) >= CACHED_TOKENS:
            self._cache.clear()
        self._cache[fingerprint] = admitted, min(admitted.ends, now.timestamp() + CACHE_S)
        return admitted

    def _of(self, token: str) -> Issuer | None:
        """Looks into a token that nobody has checked yet, to know who could."""
        if not self._issuers or len(token) > LONGEST:
            return None
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        issuer = claims.get("iss")
        return self._issuers.get(issuer) if isinstance(issuer, str) else None
