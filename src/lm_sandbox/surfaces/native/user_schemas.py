"""The shapes of users."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, SecretStr

from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.user_records import User, UserState
from lm_sandbox.identity.users import NewUser, UserChange
from lm_sandbox.surfaces.native.key_schemas import QuotasBody, Scopes
from lm_sandbox.surfaces.native.schemas import Body, Name

Secret = Annotated[SecretStr, Field(max_length=1024)]


class UserCreate(Body):
    """A user to make."""

    name: Name = Field(description="what is typed to log in")
    scopes: Scopes
    quotas: QuotasBody = Field(default_factory=QuotasBody)
    password: Secret | None = Field(None, description="one is made if left out")

    def to_new(self) -> NewUser:
        """Returns what the users take."""
        return NewUser(self.name, self.scopes, self.quotas.to_quotas(), plain(self.password))


class UserPatch(Body):
    """What is to be changed; what is left out stays."""

    scopes: Scopes | None = None
    quotas: QuotasBody | None = None
    disabled: bool | None = Field(None, description="true shuts the user out, at once and with all logins")

    def to_change(self) -> UserChange:
        """Returns what the users take."""
        return UserChange(self.scopes, self.quotas.to_quotas() if self.quotas else None, self.disabled)


class PasswordIn(Body):
    """Another password for a user."""

    password: Secret | None = Field(None, description="one is made if left out")


class OwnPasswordIn(Body):
    """Another password for the caller."""

    old: Secret
    new: Secret


class UserOut(BaseModel):
    """A user; the password is not known here."""

    id: str
    name: str
    scopes: list[Scope] = Field(description="of one from elsewhere what the last token said")
    quotas: QuotasBody
    state: UserState
    issuer: str | None = Field(
        description="who vouches for the user, by its name in the settings; null is here"
    )
    subject: str | None = Field(description="what the issuer calls the user")
    created_at: datetime
    disabled_at: datetime | None
    password_changed_at: datetime | None
    last_seen_at: datetime | None = Field(
        description="the last login, or of one from elsewhere to the minute"
    )

    @classmethod
    def of(cls, user: User) -> Self:
        """Renders a user."""
        return cls(**_fields(user))


class NewUserOut(UserOut):
    """A user with the password; one that was made is told this once."""

    password: str | None

    @classmethod
    def of_new(cls, user: User, password: str | None) -> Self:
        """Renders a user with a new password; None where who asked has chosen it."""
        return cls(**_fields(user), password=password)


class UserList(BaseModel):
    """A page of users; `next_after` goes into `after` for the next one."""

    data: list[UserOut]
    next_after: str | None


class LoggedOut(BaseModel):
    """How many logins have ended."""

    ended: int


def plain(secret: SecretStr | None) -> str | None:
    """Returns what was sent."""
    return None if secret is None else secret.get_secret_value()


def _fields(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "scopes": sorted(user.scopes),
        "quotas": QuotasBody.of(user.quotas),
        "state": user.state,
        "issuer": user.issuer or None,
        "subject": user.subject or None,
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
        "password_changed_at": user.password_changed_at,
        "last_seen_at": user.last_seen_at,
    }
