"""Short-lived access tokens: signed JWTs (RFC 9068) that stand for a key or a user, with some scopes."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from lm_sandbox.config.access import TokenSettings
from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.keys import CACHE_S, KeyStore
from lm_sandbox.identity.logins import Login
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.signing_keys import SigningKey, SigningKeys
from lm_sandbox.identity.standing import Standing

KIND = "at+jwt"
ALGORITHM = "EdDSA"
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "jti", "scope"]
LONGEST = 4096
CACHED_TOKENS = 1024
# So long may a token that another process has revoked still work here.
CACHED = timedelta(seconds=CACHE_S)


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


@dataclass(frozen=True, slots=True)
class Stated:
    """What a token says of itself.

    Attributes:
        id: Its `jti`.
        subject: For whom it stands.
        client: Who asked for it.
        scopes: What it may be used for.
        issued_at: When it was made.
        ends: When it is over.
        login: The login that it came from; empty for one that was given for a key.
    """

    id: str
    subject: str
    client: str
    scopes: frozenset[Scope]
    issued_at: datetime
    ends: datetime
    login: str


class Tokens:
    """Signs tokens and reads them back.

    Args:
        keys: Tell whether the key or the user that a token stands for may still come in.
        signing: Sign.
        settings: Who issues them, and for how long.
        standing: Tells which of them were taken back.
        now: The time of day.
    """

    def __init__(
        self,
        keys: KeyStore,
        signing: SigningKeys,
        settings: TokenSettings,
        standing: Standing,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._signing = signing
        self._settings = settings
        self._standing = standing
        self._now = now
        self._cache: dict[bytes, tuple[Stated, datetime]] = {}

    @property
    def issuer(self) -> str:
        """Who issues them, and for whom they are."""
        return self._settings.issuer

    async def issue(
        self, caller: Principal, scopes: frozenset[Scope], login: Login | None = None
    ) -> AccessToken:
        """Makes a token for a caller; no scopes means all of its.

        Args:
            caller: For whom it is to stand.
            scopes: What for.
            login: With which it ends.

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
            "client_id": (login.client if login else "") or caller.id,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self._settings.lifetime_s,
            "jti": secrets.token_hex(16),
            **({"sid": login.id} if login else {}),
        }
        key = await self._signing.newest()
        value = jwt.encode(claims, key.private, ALGORITHM, {"kid": key.id, "typ": KIND})
        return AccessToken(value, self._settings.lifetime_s, scopes)

    async def authenticate(self, token: str) -> Principal:
        """Tells for whom a token stands, with what of its scopes its owner still has.

        Raises:
            Unauthenticated: it was not made here, its time is over, or it was revoked.
            KeyExpired, KeyRevoked: the key that it stands for works no more.
            UserDisabled: the user for whom it stands is shut out.
        """
        return await self._as_its_owner(await self.read(token))

    async def read(self, token: str) -> Stated:
        """Returns what a token says that works; raises as `authenticate` does."""
        fingerprint = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        now = self._now()
        cached = self._cache.get(fingerprint)
        if cached is None or not now < cached[1]:
            self._cache.pop(fingerprint, None)
            stated = await self._read(token)
            await self._standing.require(stated.id, stated.login)
            if len(self._cache) >= CACHED_TOKENS:
                self._cache.clear()
            cached = self._cache[fingerprint] = stated, min(stated.ends, now + CACHED)
        return cached[0]

    async def revoke(self, token: str) -> Stated:
        """Makes a token worthless; raises as `authenticate` does."""
        stated = await self.read(token)
        await self._standing.revoke(stated.id, stated.ends)
        self.forget()
        return stated

    def forget(self) -> None:
        """Looks anew whether each token works: some may not any more."""
        self._cache.clear()

    async def public_keys(self) -> list[dict[str, str]]:
        """Returns the keys that check tokens, as JWKs (RFC 7517, RFC 8037)."""
        return [_jwk(key) for key in await self._signing.known()]

    async def _read(self, token: str) -> Stated:
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
            stated = _stated(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated("This token was not made here, or is not whole.") from error
        if stated.ends <= self._now():
            raise Unauthenticated("The time of this token is over; ask for a new one.")
        return stated

    async def _as_its_owner(self, stated: Stated) -> Principal:
        owner = await self._keys.owner(stated.subject)
        if owner is None:
            raise Unauthenticated("The key or user that this token stands for is not known here.")
        scopes = stated.scopes if Scope.ADMIN in owner.scopes else stated.scopes & owner.scopes
        return replace(owner, scopes=scopes)


def is_token(text: str) -> bool:
    """Whether it looks like a token and not like a key."""
    return text.count(".") == 2 and text.startswith("eyJ")  # noqa: PLR2004 - a JWT has three parts


def _stated(claims: Mapping[str, Any]) -> Stated:
    return Stated(
        id=str(claims["jti"]),
        subject=str(claims["sub"]),
        client=str(claims.get("client_id", "")),
        scopes=frozenset(Scope(name) for name in str(claims["scope"]).split()),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        ends=datetime.fromtimestamp(claims["exp"], UTC),
        login=str(claims.get("sid", "")),
    )


def _jwk(key: SigningKey) -> dict[str, str]:
    public = urlsafe_b64encode(key.public.public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": key.id, "use": "sig", "alg": ALGORITHM}
