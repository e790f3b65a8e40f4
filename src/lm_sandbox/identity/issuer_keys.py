"""The public keys of an issuer: found by discovery, kept, and fetched anew when a key is not among them.

Sources: OpenID Connect Discovery 1.0, section 4; RFC 8414, section 3; RFC 7517. Nothing that a token says is
ever fetched: the address is that of the settings, what it refers to is on the same host, no redirect counts.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import jwt

from lm_sandbox.config.access import OidcSettings, is_safe_url
from lm_sandbox.errors import IssuerUnavailable

LOG = logging.getLogger(__name__)

FRESH_S = 3600.0
# A key that has been seen counts for so long while the issuer does not answer.
STALE_S = 86_400.0
# Who makes up key ids cannot have the issuer asked more often than this.
FLOOR_S = 30.0
ANSWER_S = 5.0
LARGEST = 512 * 1024
MOST_KEYS = 64
NOT_FOUND = 404
PORTS = {"https": 443, "http": 80}


class DiscoveryFailed(Exception):
    """The issuer did not answer as it should; the message is for the log."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key.

    Attributes:
        id: Its `kid`; empty where it has none.
        key: Checks signatures.
        algorithm: The only one that it is for; None where it does not say.
    """

    id: str
    key: jwt.PyJWK
    algorithm: str | None


class IssuerKeys:
    """Keeps the keys of one issuer.

    Args:
        name: The issuer's name in the settings.
        settings: Where it is.
        transport: Carries the requests; None for the network.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        name: str,
        settings: OidcSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._keys: dict[str, IssuerKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._lock = anyio.Lock()

    async def find(self, key_id: str) -> IssuerKey | None:
        """Returns the key of an id; None where the issuer has none of it.

        Raises:
            IssuerUnavailable: the issuer does not answer, and the key is not known from before.
        """
        known = self._known(key_id)
        if known is not None and (self._age() < FRESH_S or self._lock.locked()):
            return known
        # Who goes away meanwhile takes nothing from those who wait for the same.
        with anyio.CancelScope(shield=True):
            await self._refresh(key_id)
        known = self._known(key_id)
        if known is None and self._failed:
            raise IssuerUnavailable(
                f"The issuer {self._name!r} does not answer, so that its tokens cannot be checked; "
                "other keys and tokens work.",
                retry_after_s=max(1, int(FLOOR_S - self._since_try())),
            )
        return known

    def _known(self, key_id: str) -> IssuerKey | None:
        if self._age() >= STALE_S:
            return None
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self, key_id: str) -> None:
        async with self._lock:
            # Somebody else may have fetched them while this one waited.
            done = self._known(key_id) is not None and self._age() < FRESH_S
            if done or self._since_try() < FLOOR_S:
                return
            self._tried_at = self._clock()
            self._failed = True
            try:
                with anyio.fail_after(2 * ANSWER_S):
                    self._keys = await self._fetch()
            except (httpx.HTTPError, DiscoveryFailed, TimeoutError) as error:
                LOG.warning("the keys of the issuer %s cannot be fetched: %s", self._name, _reason(error))
                return
            self._fetched_at, self._failed = self._tried_at, False

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _since_try(self) -> float:
        return float("inf") if self._tried_at is None else self._clock() - self._tried_at

    async def _fetch(self) -> dict[str, IssuerKey]:
        async with httpx.AsyncClient(
            transport=self._transport, timeout=ANSWER_S, trust_env=False, follow_redirects=False
        ) as client:
            url = self._settings.jwks_url or await self._discover(client)
            return keys_of(await _get(client, url))

    async def _discover(self, client: httpx.AsyncClient) -> str:
        issuer = self._settings.issuer
        metadata = await _get(client, *metadata_urls(issuer))
        if metadata.get("issuer") != issuer:
            raise DiscoveryFailed("it says that it is another issuer")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str) or not is_beside(url, issuer):
            raise DiscoveryFailed("its keys are said to be on another host: see the setting jwks_url")
        return url


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Tells where an issuer may describe itself: as OpenID Connect says, and as OAuth does."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth = parts._replace(path=f"/.well-known/oauth-authorization-server{path}").geturl()
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration", oauth


def is_beside(url: str, issuer: str) -> bool:
    """Whether an address is on the same host and port as the issuer, over the same scheme."""
    if not is_safe_url(url):
        return False
    return _place(url) == _place(issuer)


def _place(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def keys_of(document: Mapping[str, Any]) -> dict[str, IssuerKey]:
    """Reads a JWK set; keys that are secret, for something else, or not understood are left out.

    Raises:
        DiscoveryFailed: there is no key in it that can be used.
    """
    listed = document.get("keys")
    keys: dict[str, IssuerKey] = {}
    for entry in listed[:MOST_KEYS] if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        algorithm = entry.get("alg")
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        key_id = str(entry.get("kid", ""))
        keys[key_id] = IssuerKey(key_id, key, algorithm if isinstance(algorithm, str) else None)
    if not keys:
        raise DiscoveryFailed("it has no key that can be used")
    return keys


async def _get(client: httpx.AsyncClient, *urls: str) -> Mapping[str, Any]:
    """Fetches a JSON object from the first address at which there is something."""
    for url in urls:
        async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            if answer.status_code == NOT_FOUND and url != urls[-1]:
                continue
            if not answer.is_success:
                raise DiscoveryFailed(f"it answered {answer.status_code}")
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > LARGEST:
                    raise DiscoveryFailed("its answer is too long")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DiscoveryFailed("its answer is no JSON") from error
        if isinstance(document, dict):
            return document
        break
    raise DiscoveryFailed("its answer is no JSON object")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, DiscoveryFailed) else type(error).__name__
