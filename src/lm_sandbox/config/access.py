"""Settings of limits, quotas and tokens."""

from pydantic import Field, SecretStr

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
        60, description="wrong keys from one address, then none of its keys is looked at; 0 is no limit"
    )


class QuotaSettings(Section):
    """How much each key may take that has no quotas of its own; 0 is no limit."""

    requests_per_minute: Amount = Field(30_000, description="requests")
    tokens_per_minute: Amount = Field(0, description="tokens that models read and wrote")
    sandboxes: Amount = Field(0, description="sandboxes alive at once")
    commands: Amount = Field(0, description="commands at work at once")
    runs: Amount = Field(0, description="answers of models being made at once")
    sandbox_seconds_per_day: Amount = Field(0, description="seconds that its sandboxes were alive, together")
    stored_mib: Amount = Field(0, description="disk for uploaded files and snapshots, in MiB")


class TokenSettings(Section):
    """Access tokens, which `/oauth/token` gives for API keys."""

    issuer: str = Field("lm-sandbox", description="issuer and audience of tokens, such as an address")
    lifetime_s: Positive = Field(600, le=86_400, description="how long a token works")
    key_days: Positive = Field(30, description="how long one key signs them before the next does")
