"""The shapes of API keys."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, Field

from lm_sandbox.identity.key_records import ApiKey, KeyState
from lm_sandbox.identity.keys import IssuedKey, KeyChange, NewKey
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.surfaces.native.schemas import Body, Name, Seconds

Amount = Annotated[int, Field(ge=0, le=2**53)]
Scopes = Annotated[frozenset[Scope], Field(min_length=1)]
LONGEST_OVERLAP_S = 30 * 86400.0


class QuotasBody(Body):
    """How much a key may take; null is as the server's settings say, 0 is as much as there is."""

    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = Field(None, description="that models read and wrote")
    sandboxes: Amount | None = Field(None, description="alive at once")
    commands: Amount | None = Field(None, description="at work at once")
    runs: Amount | None = Field(None, description="answers of models being made at once")
    sandbox_seconds_per_day: Amount | None = Field(None, description="that its sandboxes were alive")
    stored_mib: Amount | None = Field(None, description="uploaded files and snapshots, in MiB")

    def to_quotas(self) -> Quotas:
        """Returns what the keys hold."""
        return Quotas(**self.model_dump())

    @classmethod
    def of(cls, quotas: Quotas) -> Self:
        """Renders quotas."""
        return cls(**asdict(quotas))


class KeyCreate(Body):
    """A key to make."""

    name: Name
    scopes: Scopes
    expires_in_s: Seconds | None = Field(None, description="works for so long; never ends if left out")
    quotas: QuotasBody = Field(default_factory=QuotasBody)

    def to_new(self) -> NewKey:
        """Returns what the keys take."""
        return NewKey(self.name, self.scopes, self.quotas.to_quotas(), _from_now(self.expires_in_s))


class KeyPatch(Body):
    """What is to be changed; what is left out stays."""

    name: Name | None = None
    scopes: Scopes | None = None
    expires_in_s: Seconds | None = None
    quotas: QuotasBody | None = None

    def to_change(self) -> KeyChange:
        """Returns what the keys take."""
        quotas = self.quotas.to_quotas() if self.quotas else None
        return KeyChange(self.name, self.scopes, quotas, _from_now(self.expires_in_s))


class KeyRotate(Body):
    """How to change over to the new secret."""

    overlap_s: float = Field(0.0, ge=0, le=LONGEST_OVERLAP_S, description="the old one works for so long")


class KeyOut(BaseModel):
    """A key; its secret is not known here any more."""

    id: str
    name: str
    prefix: str = Field(description="how the secret begins")
    scopes: list[Scope]
    quotas: QuotasBody
    state: KeyState
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Renders a key."""
        return cls(**_fields(key))


class NewKeyOut(KeyOut):
    """A key with its secret, which is told this once."""

    token: str

    @classmethod
    def of_issued(cls, issued: IssuedKey) -> Self:
        """Renders a new secret."""
        return cls(**_fields(issued.key), token=issued.token)


class KeyList(BaseModel):
    """A page of keys; `next_after` goes into `after` for the next one."""

    data: list[KeyOut]
    next_after: str | None


class SelfOut(BaseModel):
    """Who calls, and what it may do and take."""

    id: str
    name: str
    scopes: list[Scope]
    quotas: QuotasBody

    @classmethod
    def of(cls, caller: Principal) -> Self:
        """Renders a caller."""
        return cls(
            id=caller.id,
            name=caller.name,
            scopes=sorted(caller.scopes),
            quotas=QuotasBody.of(caller.quotas),
        )


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "quotas": QuotasBody.of(key.quotas),
        "state": key.state(datetime.now(UTC)),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _from_now(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
