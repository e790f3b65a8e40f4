"""Everything that tells who calls, over a database of its own, with a clock that is set by hand."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lm_sandbox.config.access import LimitSettings, PasswordSettings, TokenSettings
from lm_sandbox.identity.gate import Gate
from lm_sandbox.identity.guesses import Guesses
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.logins import Logins
from lm_sandbox.identity.password_proof import PasswordProof
from lm_sandbox.identity.passwords import Passwords
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.rates import Rates
from lm_sandbox.identity.sign_in import Asked, Grant, SignIn
from lm_sandbox.identity.signing_keys import SigningKeys
from lm_sandbox.identity.standing import Standing
from lm_sandbox.identity.tokens import Tokens
from lm_sandbox.identity.user_records import User, UserRecords
from lm_sandbox.identity.users import NewUser, Users
from lm_sandbox.storage.database import Database
from lm_sandbox.telemetry.happenings import Happening

START = datetime(2030, 1, 1, tzinfo=UTC)
BOTH = frozenset({Scope.MODELS, Scope.SANDBOXES})
PASSWORD = "correct horse battery staple"
CHEAP = PasswordSettings(memory_kib=19_456, rounds=1)
HOME = "198.51.100.7"
DAY_S = 86_400.0


@dataclass
class House:
    """One server's callers."""

    database: Database
    seconds: float = 0.0
    limits: LimitSettings = field(default_factory=lambda: LimitSettings(account_logins_per_minute=0))
    passwords: Passwords = field(default_factory=lambda: Passwords(CHEAP))

    def __post_init__(self) -> None:
        self.told: list[Happening] = []
        rates = Rates(now=lambda: self.seconds)
        self.records = UserRecords(self.database)
        self.users = Users(self.records, self.passwords, clock=lambda: self.seconds, now=self.now)
        self.keys = KeyStore(self.database, others=self.users, clock=lambda: self.seconds, now=self.now)
        self.signing = SigningKeys(self.database, timedelta(days=30), timedelta(seconds=600), self.now)
        self.logins = Logins(self.database, timedelta(days=30), timedelta(days=90), self.now)
        self.standing = Standing(self.database, self.logins, self.now)
        self.tokens = Tokens(self.keys, self.signing, TokenSettings(), self.standing, self.now)
        guesses = Guesses(self.records, rates, self.limits, self.now)
        proof = PasswordProof(self.records, self.passwords, guesses, self.told.append)
        self.sign_in = SignIn(self.users, proof, self.logins, self.tokens, self.told.append)
        self.gate = Gate(self.keys, self.tokens, rates, self.limits)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def caller(self, scopes: frozenset[Scope] = BOTH) -> Principal:
        return await self.keys.authenticate((await self.keys.issue("ci", scopes)).token)

    async def user(self, name: str = "anna", scopes: frozenset[Scope] = BOTH) -> User:
        return (await self.users.make(NewUser(name, scopes, password=PASSWORD)))[0]

    async def log_in(self, name: str = "anna", *scopes: Scope, place: str = HOME) -> Grant:
        return await self.sign_in.by_password(name, PASSWORD, Asked(place, "app", frozenset(scopes)))

    async def refresh(self, token: str, *scopes: Scope, client: str | None = None) -> Grant:
        return await self.sign_in.by_refresh_token(token, Asked(HOME, client, frozenset(scopes)))
