"""Tokens of issuers elsewhere, with a real one that the test runs."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any

import anyio
import pytest

from lm_sandbox.config.access import OidcSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import IssuerUnavailable, Unauthenticated, UserDisabled
from lm_sandbox.identity.claims import scopes_of
from lm_sandbox.identity.issuer_keys import FLOOR_S, FRESH_S, STALE_S, is_beside, keys_of, metadata_urls
from lm_sandbox.identity.issuers import Issuers
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.users import UserChange
from lm_sandbox.storage.database import Database
from tests.identity.house import House
from tests.identity.issuer import AUDIENCE, TestIssuer, new_key, running_issuer

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/openid-configuration"


@dataclass
class Door:
    """A server that takes tokens of one issuer, and a clock for its keys that is set by hand."""

    issuer: TestIssuer
    house: House
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.house.now = lambda: datetime.now(UTC)  # type: ignore[method-assign]
        self.issuers = self.opened()

    def opened(self, **changed: Any) -> Issuers:  # noqa: ANN401 - settings of any kind
        settings = OidcSettings(
            issuer=self.issuer.url,
            audience=AUDIENCE,
            scopes_claim="groups",
            scopes={"developers": ("models", "sandboxes"), "operators": ("admin",)},
            **changed,
        )
        return Issuers({"corp": settings}, self.house.users, clock=lambda: self.seconds)


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    async with running_issuer() as issuer:
        yield Door(issuer, House(database))


async def test_a_token_lets_in_who_it_is_for_with_the_scopes_that_its_claims_give(door: Door) -> None:
    caller = await door.issuers.authenticate(door.issuer.token())
    assert (caller.name, caller.scopes) == ("anna", frozenset({Scope.MODELS, Scope.SANDBOXES}))
    again = await door.issuers.authenticate(
        door.issuer.token(groups=["operators", "unknown"], preferred_username="Anna B")
    )
    assert (again.id, again.name, again.scopes) == (caller.id, "Anna B", frozenset({Scope.ADMIN}))
    other = await door.issuers.authenticate(door.issuer.token(sub="another"))
    assert other.id != caller.id
    nobody = await door.issuers.authenticate(door.issuer.token(sub="third", groups=None))
    assert nobody.scopes == frozenset()
    user = await door.house.users.find(caller.id)
    assert (user.issuer, user.subject) == ("corp", "248289761001")
    assert door.issuer.asked == [METADATA, "/keys"]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "EdDSA"])
async def test_every_signature_that_is_named_in_the_settings_counts(door: Door, algorithm: str) -> None:
    door.issuer.keys = [new_key(algorithm)]
    await door.opened(algorithms=(algorithm,)).authenticate(door.issuer.token())
    with pytest.raises(Unauthenticated):
        await door.opened(algorithms=("ES384",)).authenticate(door.issuer.token())


CLAIMS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "an audience that only begins so": {"aud": f"{AUDIENCE}.evil"},
    "among other audiences not": {"aud": ["a", "b"]},
    "an audience that is an object": {"aud": {AUDIENCE: True}},
    "over": {"exp": int(time()) - 1},
    "without an end": {"exp": None},
    "an end that is a text": {"exp": "9999999999"},
    "an end that is true": {"exp": True},
    "not yet": {"nbf": int(time()) + 86_400},
    "made in the future": {"iat": int(time()) + 86_400},
    "without a beginning": {"iat": None},
    "nobody's": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a subject with a line break": {"sub": "a\nb"},
    "a very long subject": {"sub": "x" * 256},
}


@pytest.mark.parametrize("how", CLAIMS)
async def test_a_token_whose_claims_are_not_right_is_refused(door: Door, how: str) -> None:
    with pytest.raises(Unauthenticated):
        await door.issuers.authenticate(door.issuer.token(**CLAIMS[how]))
    await door.issuers.authenticate(door.issuer.token(aud=["other", AUDIENCE]))


HEADERS: dict[str, dict[str, Any]] = {
    "another type": {"typ": "logout+jwt"},
    "a kid that nobody has": {"kid": "two"},
    "a kid that is a path": {"kid": "../../../../etc/passwd"},
    "a kid that is SQL": {"kid": "' OR 1=1 --"},
    "a critical extension": {"crit": ["b64"], "b64": True},
}


@pytest.mark.parametrize("how", HEADERS)
async def test_a_token_whose_head_is_not_right_is_refused(door: Door, how: str) -> None:
    with pytest.raises(Unauthenticated):
        await door.issuers.authenticate(door.issuer.token(header=HEADERS[how]))


async def test_a_token_that_names_keys_of_its_own_has_nothing_fetched(door: Door) -> None:
    own = new_key()
    async with running_issuer() as evil:
        evil.keys = [own]
        for header in (
            {"jku": f"{evil.url}/keys"},
            {"x5u": f"{evil.url}/keys"},
            {"jwk": own.as_dict(private=False)},
            {"kid": f"{evil.url}/keys"},
        ):
            with pytest.raises(Unauthenticated):
                await door.issuers.authenticate(door.issuer.token(own, header=header))
        # One that says it is of an issuer that nobody has named is not looked at at all.
        token = evil.token()
        assert not door.issuers.knows(token)
        with pytest.raises(Unauthenticated):
            await door.issuers.authenticate(token)
        with pytest.raises(Unauthenticated):
            await door.issuers.authenticate(evil.token(iss=door.issuer.url))
        assert evil.asked == []


async def test_a_new_key_is_fetched_when_it_is_first_seen_and_no_more_often_than_may_be(door: Door) -> None:
    await door.issuers.authenticate(door.issuer.token())
    door.issuer.forget()
    door.issuer.keys = [new_key(key_id="two"), *door.issuer.keys]
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await door.issuers.authenticate(door.issuer.token(header={"kid": f"made up {number}"}))
    assert door.issuer.asked == []
    door.seconds = FLOOR_S
    await door.issuers.authenticate(door.issuer.token())
    assert door.issuer.asked == [METADATA, "/keys"]


async def test_a_key_that_the_issuer_has_taken_back_counts_no_longer_than_an_hour(door: Door) -> None:
    old = door.issuer.keys[0]
    await door.issuers.authenticate(door.issuer.token())
    door.issuer.keys = [new_key(key_id="two")]
    door.seconds = FRESH_S
    with pytest.raises(Unauthenticated):
        await door.issuers.authenticate(door.issuer.token(old, jti="id-2"))


async def test_an_issuer_that_is_down_takes_nobody_else_with_it(door: Door) -> None:
    token = door.issuer.token()
    door.issuer.answers["/keys"] = 500, b""
    for _ in range(3):
        with pytest.raises(IssuerUnavailable, match="corp") as refused:
            await door.issuers.authenticate(token)
        assert refused.value.retry_after_s
    assert door.issuer.asked == [METADATA, "/keys"]
    own = await door.house.caller()
    given = await door.house.tokens.issue(own, frozenset())
    assert not door.issuers.knows(given.value)
    door.issuer.answers.clear()
    door.seconds = FLOOR_S
    await door.issuers.authenticate(token)
    # What is known goes on for a day.
    door.issuer.answers[METADATA] = 500, b""
    door.seconds = FLOOR_S + STALE_S - 1
    await door.issuers.authenticate(door.issuer.token(jti="id-2"))
    door.seconds = FLOOR_S + STALE_S
    with pytest.raises(IssuerUnavailable):
        await door.issuers.authenticate(door.issuer.token(jti="id-3"))


async def test_who_goes_away_while_keys_are_fetched_takes_nothing_from_the_others(door: Door) -> None:
    token = door.issuer.token()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(door.issuers.authenticate, token)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await door.issuers.authenticate(token)


FAULTS: dict[str, tuple[str, int, bytes]] = {
    "an error": (METADATA, 500, b""),
    "no JSON": (METADATA, 200, b"<html>"),
    "a list": (METADATA, 200, b"[]"),
    "deep JSON": (METADATA, 200, b"[" * 100_000),
    "another issuer": (METADATA, 200, b'{"issuer": "https://evil.test", "jwks_uri": "https://evil.test/keys"}'),
    "a redirect": (METADATA, 302, b"http://127.0.0.1:9/"),
    "too much": ("/keys", 200, b" " * 600_000),
    "no keys": ("/keys", 200, b'{"keys": []}'),
    "keys that are none": ("/keys", 200, b'{"keys": [7, {"kty": "RSA"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}'),
    "a redirect of the keys": ("/keys", 302, b"http://169.254.169.254/latest/meta-data"),
}  # fmt: skip


@pytest.mark.parametrize("how", FAULTS)
async def test_an_issuer_that_answers_nonsense_is_as_one_that_is_down(door: Door, how: str) -> None:
    path, status, body = FAULTS[how]
    door.issuer.answers[path] = status, body
    with pytest.raises(IssuerUnavailable):
        await door.issuers.authenticate(door.issuer.token())


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/keys",
        "http://127.0.0.1:9/keys",
        "https://evil.test/keys",
        "file:///etc/passwd",
        "keys",
        7,
    ],
)
async def test_keys_are_fetched_from_the_host_of_the_issuer_only(door: Door, url: object) -> None:
    told = {"issuer": door.issuer.url, "jwks_uri": url}
    door.issuer.answers[METADATA] = 200, json.dumps(told).encode()
    with pytest.raises(IssuerUnavailable):
        await door.issuers.authenticate(door.issuer.token())
    assert door.issuer.asked == [METADATA]


async def test_keys_elsewhere_are_fetched_where_the_settings_say_so(door: Door) -> None:
    async with running_issuer() as elsewhere:
        elsewhere.keys = door.issuer.keys
        issuers = door.opened(jwks_url=f"{elsewhere.url}/keys")
        await issuers.authenticate(door.issuer.token())
        assert (door.issuer.asked, elsewhere.asked) == ([], ["/keys"])


async def test_a_user_from_elsewhere_is_shut_out_by_an_admin_and_has_no_password(door: Door) -> None:
    caller = await door.issuers.authenticate(door.issuer.token())
    await door.house.sign_in.change(caller.id, UserChange(disabled=True))
    with pytest.raises(UserDisabled):
        await door.issuers.authenticate(door.issuer.token())
    # A later token does not undo it.
    with pytest.raises(UserDisabled):
        await door.issuers.authenticate(door.issuer.token(preferred_username="new name"))
    with pytest.raises(Exception, match="corp"):
        await door.house.users.set_password(caller.id, None)
    with pytest.raises(Exception, match="corp"):
        await door.house.users.change(caller.id, UserChange(scopes=frozenset({Scope.ADMIN})))


async def test_names_that_somebody_else_makes_up_are_shown_without_what_they_could_do(door: Door) -> None:
    name = "a\n\u202e\x1b[31mb" + "x" * 500
    caller = await door.issuers.authenticate(door.issuer.token(preferred_username=name))
    assert caller.name.isprintable()
    assert len(caller.name) <= 128
    unnamed = await door.issuers.authenticate(door.issuer.token(sub="x1", preferred_username=["a"]))
    assert unnamed.name == "x1"


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"realm_access": {"roles": ["dev"]}}, {Scope.MODELS}),
        ({"realm_access.roles": "dev ops"}, {Scope.MODELS, Scope.ADMIN}),
        ({"realm_access": "dev"}, set()),
        ({"realm_access": {"roles": {"dev": 1}}}, set()),
        ({"realm_access": {"roles": [["dev"], 7, None]}}, set()),
        ({"realm_access": {"roles": ["admin", "DEV", "dev "]}}, set()),
        ({}, set()),
    ],
)
def test_only_what_the_settings_name_gives_scopes(claims: dict[str, object], found: set[Scope]) -> None:
    settings = OidcSettings(
        issuer="https://sso.example/realms/x", audience="x", scopes_claim="realm_access.roles",
        scopes={"dev": ("models",), "ops": ("admin",)}, everyone=("files",),
    )  # fmt: skip
    assert scopes_of(claims, settings) == found | {Scope.FILES}


@pytest.mark.parametrize(
    "url",
    ["http://sso.example", "http://169.254.169.254", "ftp://sso.example", "https://", "https://a:b@sso.example",
     "https://sso.example?x=y", "https://sso.example#x", "http://127.0.0.1.evil.test", "http://[", "https://x:y"],
)  # fmt: skip
def test_an_issuer_that_is_not_reached_safely_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        OidcSettings(issuer=url, audience="x", everyone=("models",))
    with pytest.raises(ValueError, match="https"):
        OidcSettings(issuer="https://sso.example", jwks_url=url, audience="x", everyone=("models",))


@pytest.mark.parametrize(
    "changed",
    [{"algorithms": ["HS256"]}, {"algorithms": ["none"]}, {"algorithms": []}, {"audience": ""}, {"everyone": ["root"]},
     {"everyone": []}],
)  # fmt: skip
def test_settings_that_would_let_anybody_in_or_nobody_are_refused(changed: dict[str, object]) -> None:
    whole = {"issuer": "https://sso.example", "audience": "x", "everyone": ["models"], **changed}
    with pytest.raises(ValueError, match="oidc"):
        Settings.model_validate({"oidc": {"corp": whole}})


def test_where_an_issuer_describes_itself() -> None:
    assert metadata_urls("https://sso.example/realms/x/") == (
        "https://sso.example/realms/x/.well-known/openid-configuration",
        "https://sso.example/.well-known/oauth-authorization-server/realms/x",
    )
    assert is_beside("https://SSO.example:443/keys", "https://sso.example/realms/x")
    assert not is_beside("http://sso.example/keys", "https://sso.example")


def test_keys_for_encryption_and_secret_ones_are_left_out() -> None:
    good, other = (
        new_key().as_dict(private=False),
        {**new_key(key_id="two").as_dict(private=False), "use": "enc"},
    )
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "three", "alg": "HS256"}
    assert list(keys_of({"keys": [good, other, secret]})) == ["one"]
