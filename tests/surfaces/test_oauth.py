"""OAuth2 over HTTP."""

import base64

import httpx
import pytest

from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio

GRANT = {"grant_type": "client_credentials"}
NOBODY = {"Authorization": ""}


async def key_of(services: Services) -> dict[str, str]:
    issued = await services.keys.issue("ci", frozenset({Scope.MODELS, Scope.SANDBOXES}))
    return {"client_id": issued.id, "client_secret": issued.token}


async def test_a_client_gets_a_token_and_calls_with_it(client: httpx.AsyncClient, services: Services) -> None:
    own = await key_of(services)
    given = await client.post("/oauth/token", data={**GRANT, **own, "scope": "models"}, headers=NOBODY)
    assert given.headers["cache-control"] == "no-store"
    token = given.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 600, "models")
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert (await client.get("/v1/models", headers=headers)).status_code == 200
    assert (await client.get("/v1/sandboxes", headers=headers)).status_code == 403
    seen = (await client.get("/v1/keys/self", headers=headers)).json()
    assert (seen["id"], seen["scopes"]) == (own["client_id"], ["models"])
    told = (await client.post("/oauth/introspect", data={"token": token["access_token"]})).json()
    assert (told["active"], told["sub"], told["scope"]) == (True, own["client_id"], "models")
    await services.keys.revoke(own["client_id"])
    assert (await client.get("/v1/models", headers=headers)).status_code == 401
    told = (await client.post("/oauth/introspect", data={"token": token["access_token"]})).json()
    assert told == {"active": False}


async def test_what_a_token_owns_its_key_owns(client: httpx.AsyncClient, services: Services) -> None:
    own = await key_of(services)
    basic = base64.b64encode(f"{own['client_id']}:{own['client_secret']}".encode()).decode()
    token = (
        await client.post("/oauth/token", data=GRANT, headers={"Authorization": f"Basic {basic}"})
    ).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    made = (await client.post("/v1/sandboxes", json={}, headers=headers)).json()
    headers = {"Authorization": f"Bearer {own['client_secret']}"}
    assert (await client.get(f"/v1/sandboxes/{made['id']}", headers=headers)).status_code == 200


async def test_others_are_not_told_about_a_token(client: httpx.AsyncClient, services: Services) -> None:
    token = (
        await client.post("/oauth/token", data={**GRANT, **await key_of(services)}, headers=NOBODY)
    ).json()
    other = await services.keys.issue("other", frozenset({Scope.MODELS}))
    headers = {"Authorization": f"Bearer {other.token}"}
    told = await client.post("/oauth/introspect", data={"token": token["access_token"]}, headers=headers)
    assert told.json() == {"active": False}


async def test_what_is_not_right_is_told_as_oauth_tells_it(
    client: httpx.AsyncClient, services: Services
) -> None:
    own = await key_of(services)
    basic = {"Authorization": "Basic " + base64.b64encode(b"x:y").decode()}
    cases: list[tuple[dict[str, str] | bytes, dict[str, str], int, str]] = [
        ({}, NOBODY, 400, "unsupported_grant_type"),
        ({**own, "grant_type": "implicit"}, NOBODY, 400, "unsupported_grant_type"),
        ({**own, "grant_type": "password"}, NOBODY, 400, "invalid_request"),
        (GRANT, NOBODY, 401, "invalid_client"),
        ({**GRANT, **own, "client_secret": "x" * 40}, NOBODY, 401, "invalid_client"),
        ({**GRANT, **own, "client_id": "key_other"}, NOBODY, 401, "invalid_client"),
        (GRANT, basic, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic no=base64"}, 401, "invalid_client"),
        ({**GRANT, **own}, basic, 400, "invalid_request"),
        ({**GRANT, **own, "scope": "admin"}, NOBODY, 400, "invalid_scope"),
        ({**GRANT, **own, "scope": "root"}, NOBODY, 400, "invalid_request"),
        (b"grant_type=client_credentials&grant_type=password", NOBODY, 400, "invalid_request"),
        (b"&".join(b"a%d=b" % n for n in range(40)), NOBODY, 400, "invalid_request"),
        (b"x=" + b"y" * 20_000, NOBODY, 400, "invalid_request"),
        (b"grant_type=\xff", NOBODY, 400, "invalid_request"),
    ]
    for body, headers, status, code in cases:
        content = {"content": body} if isinstance(body, bytes) else {"data": body}
        answer = await client.post("/oauth/token", headers=headers, **content)
        assert (answer.status_code, answer.json()["error"]) == (status, code), (body, answer.text)
        assert own["client_secret"] not in answer.text


async def test_clients_find_what_is_where(client: httpx.AsyncClient) -> None:
    told = (await client.get("/.well-known/oauth-authorization-server", headers=NOBODY)).json()
    assert told["token_endpoint"] == "http://test/oauth/token"
    assert (await client.get(httpx.URL(told["jwks_uri"]).path, headers=NOBODY)).status_code == 200
