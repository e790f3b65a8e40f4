"""Attacks on the way in with tokens and passwords, over the whole app: whatever is forged, it is a 401.

What each forgery is refused for is in tests/identity; here none of them gets through any door.
"""

import base64
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import anyio
import httpx
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.access import LimitSettings, OidcSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.users import NewUser
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.surfaces.deps import Services
from tests.conftest import KEY
from tests.identity.issuer import AUDIENCE, TestIssuer, new_key, running_issuer

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"
NOBODY = {"Authorization": ""}
DOORS = ("/v1/models", "/v1/sandboxes", "/v1/keys", "/v1/keys/self", "/v1/users", "/v1/audit")


@dataclass
class Target:
    """A server that takes its own tokens and those of an issuer elsewhere."""

    http: httpx.AsyncClient
    services: Services
    issuer: TestIssuer

    async def tries(self, token: str) -> set[int]:
        headers = {"Authorization": f"Bearer {token}"}
        statuses = {(await self.http.get(path, headers=headers)).status_code for path in DOORS}
        statuses.add((await self.http.post("/mcp", headers=headers, json={})).status_code)
        return statuses

    async def token(self) -> str:
        admin = await self.services.keys.authenticate(KEY)
        return (await self.services.tokens.issue(admin, frozenset())).value

    async def ask_token(self, **form: str) -> httpx.Response:
        return await self.http.post("/oauth/token", data=form, headers=NOBODY)


@pytest.fixture
async def target(settings: Settings) -> AsyncIterator[Target]:
    async with running_issuer() as issuer:
        corp = OidcSettings(
            issuer=issuer.url, audience=AUDIENCE, scopes_claim="groups", scopes={"developers": ("admin",)}
        )
        limits = LimitSettings(address_failures_per_minute=0, account_logins_per_minute=5)
        changed = settings.model_copy(update={"oidc": {"corp": corp}, "limits": limits})
        app = create_app(changed)
        async with start_services(changed) as services, anyio.create_task_group() as tasks:
            app.state.services = services
            transport = StreamingASGITransport(app, tasks)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
                yield Target(http, services, issuer)
            tasks.cancel_scope.cancel()


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(token: str, header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """Writes a token anew: unsigned, or signed with a secret."""
    old_header, old_claims, signature = token.split(".")

    def read(text: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=="))
        return content

    signed = f"{part(read(old_header) | header)}.{part(read(old_claims) | claims)}"
    if secret is None:
        return f"{signed}.{signature if not header else ''}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), sha256))}"


async def test_no_forged_token_gets_through_any_door(target: Target) -> None:
    own, foreign = await target.token(), target.issuer.token()
    assert await target.tries(own) == await target.tries(foreign)
    assert 200 in await target.tries(foreign)
    [public] = await target.services.tokens.public_keys()
    theirs = target.issuer.keys[0].as_dict(private=False)
    for good, key in ((own, public), (foreign, theirs)):
        forgeries = [forged(good, {"alg": how}, {}) for how in ("none", "None", "nOnE", "")]
        forgeries += [
            forged(good, {"alg": how}, {}, secret)
            for how in ("HS256", "HS512")
            for secret in (
                b"",
                json.dumps(key).encode(),
                str(key["x"]).encode(),
                base64.urlsafe_b64decode(f"{key['x']}=="),
            )
        ]
        forgeries += [
            forged(good, {}, claims)
            for claims in (
                {"sub": "key_other"},
                {"scope": "admin", "groups": ["x"]},
                {"exp": 2**40},
                {"aud": "other"},
            )
        ]
        forgeries += [good[:-8], good + "A", good.replace(".", "..", 1), good.split(".")[1], f"{good}.{good}"]
        for forgery in forgeries:
            assert await target.tries(forgery) == {401}, forgery


async def test_the_key_of_one_issuer_makes_no_tokens_of_another(target: Target) -> None:
    evil = new_key()
    for claims in (
        {"iss": "lm-sandbox", "aud": "lm-sandbox", "scope": "admin"},
        {"iss": "https://evil.test"},
        {"iss": [target.issuer.url]},
        {"iss": f"{target.issuer.url}/"},
        {"iss": None},
    ):
        assert await target.tries(target.issuer.token(**claims)) == {401}, claims
        assert await target.tries(target.issuer.token(evil, **claims)) == {401}, claims
    assert await target.tries(target.issuer.token(evil)) == {401}


async def test_what_gives_tokens_is_no_token_and_tokens_give_none(target: Target) -> None:
    await target.services.users.make(NewUser("anna", frozenset({Scope.MODELS}), password=PASSWORD))
    given = (await target.ask_token(grant_type="password", username="anna", password=PASSWORD)).json()
    for secret in (given["refresh_token"], PASSWORD, f"anna:{PASSWORD}"):
        assert await target.tries(secret) == {401}
    for token in (given["access_token"], target.issuer.token(), await target.token()):
        asked = await target.ask_token(grant_type="client_credentials", client_id="anna", client_secret=token)
        assert asked.status_code == 401
        asked = await target.ask_token(grant_type="refresh_token", refresh_token=token)
        assert asked.json()["error"] == "invalid_grant"


async def test_a_replayed_refresh_token_ends_the_login_of_thief_and_victim(target: Target) -> None:
    await target.services.users.make(NewUser("anna", frozenset({Scope.MODELS}), password=PASSWORD))
    first = (await target.ask_token(grant_type="password", username="anna", password=PASSWORD)).json()
    thief = (await target.ask_token(grant_type="refresh_token", refresh_token=first["refresh_token"])).json()
    assert 200 in await target.tries(thief["access_token"])
    replayed = await target.ask_token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    for token in (first["access_token"], thief["access_token"]):
        assert await target.tries(token) == {401}
    late = await target.ask_token(grant_type="refresh_token", refresh_token=thief["refresh_token"])
    assert late.json()["error"] == "invalid_grant"


async def test_guessing_a_password_is_answered_the_same_for_who_is_there_and_who_is_not(
    target: Target,
) -> None:
    await target.services.users.make(NewUser("anna", frozenset({Scope.MODELS}), password=PASSWORD))
    told = {}
    for name in ("anna", "nobody"):
        answers = [
            await target.ask_token(grant_type="password", username=name, password=f"guess {number}")
            for number in range(7)
        ]
        told[name] = [(one.status_code, one.json().get("error"), one.json().get("code")) for one in answers]
        assert int(answers[-1].headers["retry-after"]) > 0
    assert told["anna"] == told["nobody"]
    assert [status for status, _, _ in told["anna"]] == [400] * 5 + [429] * 2


async def test_an_issuer_that_is_down_is_a_503_for_its_tokens_only(target: Target) -> None:
    target.issuer.answers["/keys"] = 500, b""
    foreign = target.issuer.token()
    answer = await target.http.get("/v1/models", headers={"Authorization": f"Bearer {foreign}"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "issuer_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert target.issuer.url not in answer.text
    assert 200 in await target.tries(await target.token())
    assert 200 in await target.tries(KEY)


async def test_no_name_of_a_host_gets_out_of_the_quotation_marks_of_the_challenge(target: Target) -> None:
    for host in (b'x", error="', b"evil.test\\", b"a b", "\u00e9.test".encode(), b"x/y", b"<x>"):
        answer = await target.http.get("/v1/models", headers={b"Host": host})
        assert answer.status_code == 401
        assert re.fullmatch(
            r'Bearer resource_metadata="http://[\w.:]+/\.well-known/oauth-protected-resource"',
            answer.headers["www-authenticate"],
            re.ASCII,
        )


async def test_clients_find_out_who_issues_tokens(target: Target) -> None:
    refused = await target.http.get("/v1/sandboxes")
    challenge = refused.headers["www-authenticate"]
    url = httpx.URL(challenge.split('resource_metadata="')[1].rstrip('"'))
    told = (await target.http.get(url.path)).json()
    assert told["authorization_servers"] == [target.issuer.url]
    assert told["resource"] == "http://test"
    mcp = (await target.http.get(f"{url.path}/mcp")).json()
    assert (mcp["resource"], mcp["authorization_servers"]) == ("http://test/mcp", [target.issuer.url])
    wrong = await target.http.get("/v1/sandboxes", headers={"Authorization": "Bearer x"})
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]


async def test_what_a_caller_writes_makes_no_line_of_the_log(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lm_sandbox")
    injected = "x\r\n2026-01-01 level=critical forged\x1b[2J"
    for form in (
        {"grant_type": injected},
        {"grant_type": "password", "username": injected, "password": injected},
        {"grant_type": "password", "username": "a", "password": "b", "client_id": injected},
        {"grant_type": "refresh_token", "refresh_token": injected},
    ):
        assert (await target.ask_token(**form)).status_code == 400
    target.issuer.answers["/keys"] = 500, b"forged\n"
    await target.tries(target.issuer.token(header={"kid": injected}, jti="x"))
    records = (
        await target.http.get("/v1/audit?limit=1000", headers={"Authorization": f"Bearer {KEY}"})
    ).json()
    assert "forged" not in caplog.text + json.dumps(records)


async def test_a_page_of_another_origin_gets_no_token(target: Target) -> None:
    """A form of another page can be sent, but nothing of the answer can be read, and there is no cookie."""
    await target.services.users.make(NewUser("anna", frozenset({Scope.MODELS}), password=PASSWORD))
    for origin in ("https://evil.test", "null"):
        answer = await target.http.post(
            "/oauth/token",
            data={"grant_type": "password", "username": "anna", "password": PASSWORD},
            headers={"Origin": origin, **NOBODY},
        )
        assert "set-cookie" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["cache-control"] == "no-store"


async def test_no_way_to_write_a_path_gets_to_users_without_a_key(target: Target) -> None:
    for path in (
        "/v1/%2575sers", "/v1/users%252f", "/v1/%2e%2e/v1/users", "/v1/users/..%252fkeys", "/V1/Users", "/v1/users%2f",
        "/v1/users/self%2fpassword", "/oauth/%2e%2e/v1/users", "/.well-known/..%2fv1%2fusers",
    ):  # fmt: skip
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = await target.http.request(method, path, headers=NOBODY)
            assert answer.status_code in {400, 401, 404, 405, 307}, (method, answer.text)
