"""Settings of limits, quotas, passwords, tokens and those who issue them elsewhere."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from lm_sandbox.config.section import Amount, Positive, Section


class LimitSettings(Section):
    """How often an address may call, whoever it is."""

    store: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0` counts for several servers together (extra `redis`); "
        "default: each for itself",
    )
    address_requests_per_minute: Amount = Field(
        60_000, description="requests from one address; 0 is no limit"
    )
    address_connections: Amount = Field(1000, description="connections from one address; 0 is no limit")
    address_failures_per_minute: Amount = Field(
        60,
        description="wrong keys and passwords from one address, then none from there is looked at; "
        "0 is no limit",
    )
    account_logins_per_minute: Amount = Field(
        10,
        description="passwords tried for one account, from all addresses that it was not used from before "
        "together, and from each of the others for itself; 0 is no limit",
    )


class QuotaSettings(Section):
    """How much each key or user may take that has no quotas of its own; 0 is no limit."""

    requests_per_minute: Amount = Field(30_000, description="requests")
    tokens_per_minute: Amount = Field(0, description="tokens that models read and wrote")
    sandboxes: Amount = Field(0, description="sandboxes alive at once")
    commands: Amount = Field(0, description="commands at work at once")
    runs: Amount = Field(0, description="answers of models being made at once")
    sandbox_seconds_per_day: Amount = Field(0, description="seconds that its sandboxes were alive, together")
    stored_mib: Amount = Field(0, description="disk for uploaded files, snapshots and volumes, in MiB")


class PasswordSettings(Section):
    """Passwords of local users, kept as Argon2id."""

    shortest: int = Field(12, ge=8, le=128, description="characters that a new password needs")
    # The floor is what OWASP asks for at the least.
    memory_kib: int = Field(
        65_536, ge=19_456, le=4_194_304, description="memory that checking one password takes, in KiB"
    )
    rounds: int = Field(3, ge=1, le=64, description="how often it goes through that memory")


class TokenSettings(Section):
    """Access tokens, which `/oauth/token` gives for API keys and to users, and refresh tokens."""

    issuer: str = Field(
        "lm-sandbox",
        description="issuer and audience of tokens; where it is the server's own address, such as "
        "`https://sandbox.example`, OAuth and MCP clients find the way to `/oauth/token` by themselves",
    )
    lifetime_s: Positive = Field(600, le=86_400, description="how long a token works")
    key_days: Positive = Field(30, description="how long one key signs them before the next does")
    refresh_days: Positive = Field(30, le=3650, description="how long a refresh token waits to be used")
    login_days: Positive = Field(
        90, le=3650, description="after so long a user has to give the password again"
    )


ScopeName = Literal["models", "sandboxes", "metrics", "files", "admin"]
Algorithm = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
IssuerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class OidcSettings(Section):
    """An OpenID Connect issuer whose tokens count here, found by discovery."""

    issuer: str = Field(description="its address, exactly as in the claim `iss`; https, or on this machine")
    audience: str = Field(
        min_length=1, description="what the claim `aud` of tokens for this server has in it"
    )
    jwks_url: str | None = Field(
        None, description="where its keys are, if not on the host of the issuer; no discovery then"
    )
    algorithms: tuple[Algorithm, ...] = Field(
        ("RS256", "ES256", "EdDSA"), min_length=1, description="the signatures that count"
    )
    scopes_claim: str = Field(
        "scope",
        min_length=1,
        description="the claim that tells what a user may do, such as `groups` or `realm_access.roles`",
    )
    scopes: dict[str, tuple[ScopeName, ...]] = Field(
        {}, description="a value of that claim and the scopes that it gives, such as `admin`"
    )
    everyone: tuple[ScopeName, ...] = Field((), description="scopes that each of its users has")
    name_claim: str = Field("preferred_username", description="the claim with the name for people")

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is not None and not is_safe_url(url):
            raise ValueError("it is an https address without a user, query and fragment, or on this machine")
        return url

    @model_validator(mode="after")
    def _gives_scopes(self) -> Self:
        if not self.scopes and not self.everyone:
            raise ValueError("its users could do nothing: name scopes, or scopes for everyone")
        return self


def is_safe_url(url: str) -> bool:
    """Whether keys may be fetched from an address: over https, or from this very machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return plain and bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
