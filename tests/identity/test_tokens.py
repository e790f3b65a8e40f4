"""Access tokens, and attempts to get in with ones that were not given."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lm_sandbox.config.access import LimitSettings
from lm_sandbox.errors import Forbidden, KeyRevoked, Unauthenticated
from lm_sandbox.identity.gate import Gate, Visit
from lm_sandbox.identity.keys import CACHE_S, KeyChange
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.rates import Rates
from lm_sandbox.storage.database import Database
from tests.identity.house import BOTH, House

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


async def test_a_token_stands_for_its_key_with_the_scopes_that_were_asked_for(house: House) -> None:
    caller = await house.caller()
    whole = await house.tokens.issue(caller, frozenset())
    assert await house.tokens.authenticate(whole.value) == caller
    less = await house.tokens.issue(caller, frozenset({Scope.MODELS}))
    found = await house.tokens.authenticate(less.value)
    assert (found.id, found.scopes) == (caller.id, frozenset({Scope.MODELS}))
    with pytest.raises(Forbidden):
        await house.tokens.issue(caller, frozenset({Scope.ADMIN}))


async def test_a_token_ends_at_its_time_though_it_is_remembered(house: House) -> None:
    made = await house.tokens.issue(await house.caller(), frozenset())
    house.seconds = 599.9
    await house.tokens.authenticate(made.value)
    house.seconds = 600.0
    with pytest.raises(Unauthenticated, match="time"):
        await house.tokens.authenticate(made.value)


async def test_a_token_ends_with_its_key_and_loses_the_scopes_that_the_key_loses(house: House) -> None:
    caller = await house.caller()
    made = await house.tokens.issue(caller, frozenset())
    await house.tokens.authenticate(made.value)
    await house.keys.change(caller.id, KeyChange(scopes=frozenset({Scope.MODELS})))
    assert (await house.tokens.authenticate(made.value)).scopes == frozenset({Scope.MODELS})
    await house.keys.change(caller.id, KeyChange(scopes=frozenset(Scope)))
    assert (await house.tokens.authenticate(made.value)).scopes == BOTH
    await house.keys.revoke(caller.id)
    with pytest.raises(KeyRevoked):
        await house.tokens.authenticate(made.value)


async def test_signing_keys_change_and_the_old_ones_count_for_as_long_as_their_tokens(house: House) -> None:
    caller = await house.caller()
    house.seconds = 30 * 86_400 - 1.0
    await house.signing.newest()
    first = await house.signing.newest()
    house.seconds += 30 * 86_400 - 1
    old = await house.tokens.issue(caller, frozenset())
    house.seconds += 2
    new = await house.tokens.issue(caller, frozenset())
    assert len(await house.tokens.public_keys()) == 2
    for made in (old, new):
        await house.tokens.authenticate(made.value)
    house.seconds += 600
    assert first.id not in [key["kid"] for key in await house.tokens.public_keys()]


async def test_another_server_on_the_same_database_knows_the_tokens(house: House) -> None:
    caller = await house.caller()
    other = House(house.database, house.seconds)
    with pytest.raises(Unauthenticated):
        await other.tokens.authenticate("eyJ.x.y")
    other.seconds = house.seconds = CACHE_S
    made = await house.tokens.issue(caller, frozenset())
    assert (await other.tokens.authenticate(made.value)).id == caller.id


async def test_anyone_can_check_a_token_by_the_public_keys(house: House) -> None:
    made = await house.tokens.issue(await house.caller(), frozenset())
    [key] = await house.tokens.public_keys()
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    public = jwt.PyJWK(key).key
    options: Any = {"verify_iat": False}
    assert (
        jwt.decode(made.value, public, ["EdDSA"], audience="lm-sandbox", options=options)["scope"]
        == "models sandboxes"
    )


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Good:
    """A good token, and what it was made of."""

    claims: dict[str, Any]
    header: dict[str, Any]
    key: Ed25519PrivateKey
    token: str


Forge = Callable[[Good], str]


def signed(claims: dict[str, Any], key: Any, alg: str, header: dict[str, Any]) -> str:  # noqa: ANN401 - any key
    return jwt.encode(claims, key, alg, {name: value for name, value in header.items() if name != "alg"})


FORGERIES: dict[str, Forge | str] = {
    "signed by another key": lambda good: signed(good.claims, Ed25519PrivateKey.generate(), "EdDSA", good.header),
    "alg none": lambda good: f"{part({**good.header, 'alg': 'none'})}.{part(good.claims)}.",
    "alg None": lambda good: f"{part({**good.header, 'alg': 'None'})}.{part(good.claims)}.",
    "alg none with the signature": lambda good: f"{part({**good.header, 'alg': 'none'})}.{part(good.claims)}.{good.token.split('.')[2]}",
    "no signature": lambda good: good.token.rsplit(".", 1)[0] + ".",
    "the public key as a secret": lambda good: signed(
        good.claims, base64.b64encode(good.key.public_key().public_bytes_raw()).decode(), "HS256", good.header
    ),
    "more scopes": lambda good: ".".join([good.token.split(".")[0], part({**good.claims, "scope": "admin"}), good.token.split(".")[2]]),
    "its own key in the header": lambda good: signed(
        good.claims, own := Ed25519PrivateKey.generate(), "EdDSA",
        {**good.header, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(own.public_key().public_bytes_raw()).decode()}},
    ),
    "a key by address": lambda good: signed(good.claims, Ed25519PrivateKey.generate(), "EdDSA", {**good.header, "jku": "https://evil.test/jwks"}),
    "another kid": lambda good: signed(good.claims, good.key, "EdDSA", {**good.header, "kid": "../../etc/passwd"}),
    "a kid that is SQL": lambda good: signed(good.claims, good.key, "EdDSA", {**good.header, "kid": "x' OR '1'='1"}),
    "no kid": lambda good: signed(good.claims, good.key, "EdDSA", {"typ": "at+jwt"}),
    "another type": lambda good: signed(good.claims, good.key, "EdDSA", {**good.header, "typ": "JWT"}),
    "another audience": lambda good: signed({**good.claims, "aud": "other"}, good.key, "EdDSA", good.header),
    "another issuer": lambda good: signed({**good.claims, "iss": "https://evil.test"}, good.key, "EdDSA", good.header),
    "expired": lambda good: signed({**good.claims, "exp": good.claims["iat"] - 1}, good.key, "EdDSA", good.header),
    "no end": lambda good: signed({n: v for n, v in good.claims.items() if n != "exp"}, good.key, "EdDSA", good.header),
    "an end that is no number": lambda good: signed({**good.claims, "exp": "never"}, good.key, "EdDSA", good.header),
    "an end beyond all time": lambda good: signed({**good.claims, "exp": 10**30}, good.key, "EdDSA", good.header),
    "not yet": lambda good: signed({**good.claims, "nbf": 10**11}, good.key, "EdDSA", good.header),
    "scopes that are no text": lambda good: signed({**good.claims, "scope": ["admin"]}, good.key, "EdDSA", good.header),
    "a scope that is none": lambda good: signed({**good.claims, "scope": "root"}, good.key, "EdDSA", good.header),
    "nobody's": lambda good: signed({**good.claims, "sub": "key_nobody"}, good.key, "EdDSA", good.header),
    "a critical extension": lambda good: signed(good.claims, good.key, "EdDSA", {**good.header, "crit": ["x"], "x": 1}),
    "cut": lambda good: good.token[:-5],
    "longer": lambda good: good.token + "AAAA",
    "very long": lambda good: good.token + "A" * 100_000,
    "not JSON": "eyJx.y.z",
    "empty parts": "eyJ..",
    "deep JSON": "eyJ" + base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.x",
    "surrogates": "eyJ\udce9.\udce9.x",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("how", FORGERIES)
async def test_a_forged_token_is_refused(house: House, how: str) -> None:
    caller = await house.caller()
    token = (await house.tokens.issue(caller, frozenset())).value
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    forge = FORGERIES[how]
    good = Good(claims, header, (await house.signing.newest()).private, token)
    with pytest.raises(Unauthenticated):
        await house.tokens.authenticate(forge if isinstance(forge, str) else forge(good))
    assert (await house.tokens.authenticate(token)).id == caller.id


async def test_forged_tokens_count_as_wrong_keys(house: House) -> None:
    gate = Gate(house.keys, house.tokens, Rates(), LimitSettings(address_failures_per_minute=3))
    good = (await house.tokens.issue(await house.caller(), frozenset())).value
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await gate.enter(Visit("198.51.100.1"), good[:-4] + "AAAA")
    with pytest.raises(Exception, match="wrong keys"):
        await gate.enter(Visit("198.51.100.1"), good)


async def test_no_token_gives_another_token(house: House) -> None:
    gate = Gate(house.keys, house.tokens, Rates(), LimitSettings())
    caller = await house.caller()
    token = (await house.tokens.issue(caller, frozenset())).value
    lent = house.keys.lent.lend(caller, caller.id, "sandbox", frozenset({Scope.MODELS}))
    for secret in (token, lent, ""):
        with pytest.raises(Unauthenticated):
            await gate.enter_with_key(Visit("x"), secret)


async def test_the_private_key_is_in_nothing_that_is_told(house: House) -> None:
    key = await house.signing.newest()
    private = key.private.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    told = json.dumps(await house.tokens.public_keys()) + repr(key)
    assert base64.urlsafe_b64encode(private).rstrip(b"=").decode() not in told
    assert private.hex() not in told
