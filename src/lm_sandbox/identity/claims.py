"""What the claims of a token from elsewhere mean here: pure, so that every case can be tried."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lm_sandbox.config.access import OidcSettings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.users import Identity

# Clocks of two machines are seldom the same.
LEEWAY_S = 30.0
LONGEST_SUBJECT = 255
LONGEST_NAME = 128
MOST_VALUES = 1000


class ClaimsRefused(Exception):
    """The claims do not let anybody in; the message says why, in our words only."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who a token lets in.

    Attributes:
        identity: Who it is.
        ends: When the token is over, in seconds since 1970.
        issued_at: When it was made, in seconds since 1970.
        client: Who asked for it, where it says.
        id: Its `jti`, where it has one.
    """

    identity: Identity
    ends: float
    issued_at: float
    client: str = ""
    id: str = ""


def admit(claims: Mapping[str, Any], issuer: str, settings: OidcSettings, now: datetime) -> Admitted:
    """Reads the claims of a token whose signature is right.

    Args:
        claims: As they were signed.
        issuer: The issuer's name in the settings.
        settings: What counts.
        now: The time of day.

    Raises:
        ClaimsRefused: it is of another issuer, for somebody else, over or not begun, or nobody's.
    """
    if claims.get("iss") != settings.issuer:
        raise ClaimsRefused("It is of another issuer.")
    audience = claims.get("aud")
    if settings.audience not in (audience if isinstance(audience, list) else [audience]):
        raise ClaimsRefused("It is not for this server.")
    seconds = now.timestamp()
    ends, issued_at = _time(claims, "exp"), _time(claims, "iat")
    if ends <= seconds:
        raise ClaimsRefused("Its time is over; ask for a new one.")
    if max(issued_at, _time(claims, "nbf") if "nbf" in claims else 0.0) > seconds + LEEWAY_S:
        raise ClaimsRefused("Its time has not begun.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise ClaimsRefused("It does not say who it is for.")
    name = plain_name(claims.get(settings.name_claim)) or subject[:LONGEST_NAME]
    identity = Identity(issuer, settings.issuer, subject, name, scopes_of(claims, settings))
    client = claims.get("client_id") or claims.get("azp")
    return Admitted(identity, ends, issued_at, plain_name(client), plain_name(claims.get("jti")))


def scopes_of(claims: Mapping[str, Any], settings: OidcSettings) -> frozenset[Scope]:
    """Tells what claims let their bearer do here: what is named in the settings, and nothing else."""
    given = set(settings.everyone)
    for value in _values(_at(claims, settings.scopes_claim)):
        given.update(settings.scopes.get(value, ()))
    return frozenset(Scope(name) for name in given)


def plain_name(value: object) -> str:
    """Returns what can be shown of a name that somebody else has made up; empty where there is none."""
    if not isinstance(value, str):
        return ""
    shown = unicodedata.normalize("NFKC", value[: 2 * LONGEST_NAME])
    return "".join(letter for letter in shown if letter.isprintable())[:LONGEST_NAME].strip()


def _at(claims: Mapping[str, Any], path: str) -> object:
    if path in claims:
        # Some issuers have claims with dots in their names, such as addresses.
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _values(claim: object) -> list[str]:
    if isinstance(claim, str):
        return claim.split()[:MOST_VALUES]
    listed = claim if isinstance(claim, list) else []
    return [value for value in listed[:MOST_VALUES] if isinstance(value, str)]


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimsRefused(f"Its claim {name!r} is no time.")
    return float(value)
