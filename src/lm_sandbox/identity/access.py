"""Everything that tells who calls, put together."""

from dataclasses import dataclass
from datetime import timedelta

from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.gate import Gate, InnerGate
from lm_sandbox.identity.guesses import Guesses
from lm_sandbox.identity.issuers import Issuers
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.logins import Logins
from lm_sandbox.identity.password_proof import PasswordProof
from lm_sandbox.identity.passwords import Passwords
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.identity.rates import Rates
from lm_sandbox.identity.sign_in import SignIn
from lm_sandbox.identity.signing_keys import SigningKeys
from lm_sandbox.identity.standing import Standing
from lm_sandbox.identity.tokens import Tokens
from lm_sandbox.identity.user_records import UserRecords
from lm_sandbox.identity.users import Users
from lm_sandbox.storage.database import Database
from lm_sandbox.telemetry.happenings import Tell


@dataclass(frozen=True, slots=True)
class Access:
    """The parts that know callers.

    Attributes:
        keys: API keys.
        users: Users.
        logins: Of users with a password here.
        sign_in: Makes logins.
        tokens: Given for keys and to users.
        issuers: Elsewhere.
        gate: Where callers come in.
        inner_gate: Where sandboxes do.
    """

    keys: KeyStore
    users: Users
    logins: Logins
    sign_in: SignIn
    tokens: Tokens
    issuers: Issuers
    gate: Gate
    inner_gate: InnerGate


def build_access(settings: Settings, database: Database, rates: Rates, tell: Tell) -> Access:
    """Builds them.

    Args:
        settings: All of them.
        database: Holds keys, users and logins.
        rates: Count.
        tell: Hears of logins.
    """
    chosen, limits = settings.tokens, settings.limits
    quotas = Quotas(**settings.quotas.model_dump())
    records, passwords = UserRecords(database), Passwords(settings.passwords)
    users = Users(records, passwords, quotas=quotas)
    keys = KeyStore(database, quotas=quotas, others=users)
    logins = Logins(database, timedelta(days=chosen.refresh_days), timedelta(days=chosen.login_days))
    signing = SigningKeys(database, timedelta(days=chosen.key_days), timedelta(seconds=chosen.lifetime_s))
    tokens = Tokens(keys, signing, chosen, Standing(database, logins))
    issuers = Issuers(settings.oidc, users)
    proof = PasswordProof(records, passwords, Guesses(records, rates, limits), tell)
    return Access(
        keys=keys,
        users=users,
        logins=logins,
        sign_in=SignIn(users, proof, logins, tokens, tell),
        tokens=tokens,
        issuers=issuers,
        gate=Gate(keys, tokens, rates, limits, issuers),
        inner_gate=InnerGate(keys, tokens, rates, limits),
    )
