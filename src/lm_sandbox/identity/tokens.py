"""Short-lived access tokens: signed JWTs (RFC 9068) that stand for an API key, with some of its scopes."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import jwt

from lm_sandbox.config.access import TokenSettings
from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.signing_keys import SigningKey, SigningKeys

KIND = "at+jwt"
ALGORITHM = "EdDSA"
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "jti", "scope"]
LONGEST = 4096
CACHED_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A new token.

    Attributes:
        value: What is sent as `Bearer`.
        expires_in_s: How long it works, in seconds.
        scopes: What it may be used for.
    """

    value: str
    expires_in_s: int
    scopes: frozenset[Scope]


class Tokens:
    """Signs tokens and reads them back.

    Args:
        keys: Tell whether the key that a token stands for still works.
        signing: Sign.
        settings: Who issues them, and for how long.
        now: The time of day.
    """

    def __init__(
        self,
        keys: KeyStore,
        signing: SigningKeys,
        settings: TokenSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._signing = signing
        self._settings = settings
        self._now = now
        self._cache: dict[bytes, tuple[Principal, datetime]] = {}

    @property
    def issuer(self) -> str:
        """Who issues them, and for whom they are."""
        return self._settings.issuer

    async def issue(self, caller: Principal, scopes: frozenset[Scope]) -> AccessToken:
        """Makes a token for a caller with a key; no scopes means all of its.

        Raises:
            Forbidden: the caller lacks one of the scopes itself.
        """
        for scope in scopes:
            caller.require(scope)
        scopes = scopes or caller.scopes
        now = int(self._now().timestamp())
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.issuer,
            "sub": caller.id,
            "client_id": caller.id,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self._settings.lifetime_s,
            "jti": secrets.token_hex(16),
        }
        key = await self._signing.newest()
        value = jwt.encode(claims, key.private, ALGORITHM, {"kid": key.id, "typ": KIND})
        return AccessToken(value, self._settings.lifetime_s, scopes)

    async def authenticate(self, token: str) -> Principal:
        """Tells for whom a token stands, with what of its scopes its key still has.

        Raises:
            Unauthenticated: it was not made here, or its time is over.
            KeyExpired, KeyRevoked: the key that it stands for works no more.
        """
        fingerprint = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        cached = self._cache.get(fingerprint)
        if cached is None or cached[1] <= self._now():
            self._cache.pop(fingerprint, None)
            cached = await self._read(token)
            if len(self._cache) >= CACHED_TOKENS:
                self._cache.clear()
            self._cache[fingerprint] = cached
        return await self._as_its_key(cached[0])

    async def public_keys(self) -> list[dict[str, str]]:
        """Returns the keys that check tokens, as JWKs (RFC 7517, RFC 8037)."""
        return [_jwk(key) for key in await self._signing.known()]

    async def _read(self, token: str) -> tuple[Principal, datetime]:
        try:
            if len(token) > LONGEST:
                raise jwt.InvalidTokenError("too long")
            header = jwt.get_unverified_header(token)
            key = await self._signing.find(str(header.get("kid"))) if header.get("typ") == KIND else None
            if key is None:
                raise jwt.InvalidTokenError("not one of ours")
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=self._settings.issuer,
                issuer=self._settings.issuer,
                # The clock here may be another one than that of the library.
                options={"require": REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            ends = datetime.fromtimestamp(claims["exp"], UTC)
            scopes = frozenset(Scope(name) for name in str(claims["scope"]).split())
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated("This token was not made here, or is not whole.") from error
        if ends <= self._now():
            raise Unauthenticated("The time of this token is over; ask for a new one.")
        return Principal(str(claims["sub"]), "token", scopes), ends

    async def _as_its_key(self, caller: Principal) -> Principal:
        owner = await self._keys.owner(caller.id)
        if owner is None:
            raise Unauthenticated("The key that this token stands for is not known here.")
        scopes = caller.scopes if Scope.ADMIN in owner.scopes else caller.scopes & owner.scopes
        return replace(owner, scopes=scopes)


def is_token(text: str) -> bool:
    """Whether it looks like a token and not like a key."""
    return text.count(".") == 2 and text.startswith("eyJ")  # noqa: PLR2004 - a JWT has three parts


def _jwk(key: SigningKey) -> dict[str, str]:
    public = urlsafe_b64encode(key.public.public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": key.id, "use": "sig", "alg": ALGORITHM}
