"""API keys over HTTP."""

import httpx
import pytest

from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_key_is_made_listed_shown_changed_rotated_and_revoked(client: httpx.AsyncClient) -> None:
    body = {"name": "ci", "scopes": ["sandboxes"], "expires_in_s": 3600, "quotas": {"sandboxes": 2}}
    made = (await client.post("/v1/keys", json=body)).json()
    assert made["token"].startswith(made["prefix"])
    assert (made["state"], made["quotas"]["sandboxes"]) == ("active", 2)
    assert (await client.get("/v1/sandboxes", headers=bearer(made["token"]))).status_code == 200
    path = f"/v1/keys/{made['id']}"
    [listed] = (await client.get("/v1/keys", params={"name": "ci"})).json()["data"]
    shown = (await client.get(path)).json()
    assert listed["id"] == shown["id"] == made["id"]
    assert "token" not in listed | shown
    changed = (await client.patch(path, json={"scopes": ["models"]})).json()
    assert changed["scopes"] == ["models"]
    assert (await client.get("/v1/sandboxes", headers=bearer(made["token"]))).status_code == 403
    renewed = (await client.post(f"{path}/rotate", json={})).json()
    assert (await client.get("/v1/models", headers=bearer(made["token"]))).status_code == 401
    assert (await client.get("/v1/models", headers=bearer(renewed["token"]))).status_code == 200
    assert (await client.delete(path)).json()["state"] == "revoked"
    refused = await client.get("/v1/models", headers=bearer(renewed["token"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "key_revoked")
    assert (await client.delete(path)).status_code == 409


async def test_a_caller_sees_itself_and_no_other_key(client: httpx.AsyncClient, services: Services) -> None:
    issued = await services.keys.issue("narrow", frozenset({Scope.MODELS, Scope.FILES, Scope.SANDBOXES}))
    headers = bearer(issued.token)
    seen = (await client.get("/v1/keys/self", headers=headers)).json()
    assert (seen["id"], seen["name"]) == (issued.id, "narrow")
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", f"/v1/keys/{issued.id}"),
        ("PATCH", f"/v1/keys/{issued.id}"),
        ("POST", f"/v1/keys/{issued.id}/rotate"),
        ("DELETE", f"/v1/keys/{issued.id}"),
    ):
        body = {"scopes": ["admin"]} if method == "PATCH" else {"name": "x", "scopes": ["admin"]}
        answer = await client.request(method, path, headers=headers, json=body)
        assert answer.status_code in {403, 422}, (method, path)
    assert (await services.keys.find(issued.id)).scopes == issued.key.scopes


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "scopes": ["models"]}, "name"),
        ({"name": "x\n2026 forged line", "scopes": ["models"]}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes"),
        ({"name": "x", "scopes": ["models"], "expires_in_s": -1}, "expires_in_s"),
        ({"name": "x", "scopes": ["models"], "quotas": {"sandboxes": -1}}, "quotas"),
        ({"name": "x", "scopes": ["models"], "quotas": {"sandwiches": 1}}, "quotas"),
        ({"name": "x", "scopes": ["models"], "token": "chosen-by-the-caller"}, "token"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_its_field(
    client: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await client.post("/v1/keys", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)


async def test_keys_are_listed_in_pages(client: httpx.AsyncClient, services: Services) -> None:
    for number in range(3):
        await services.keys.issue(f"key {number}", frozenset({Scope.MODELS}))
    first = (await client.get("/v1/keys", params={"limit": 2})).json()
    second = (await client.get("/v1/keys", params={"limit": 2, "after": first["next_after"]})).json()
    assert [row["name"] for row in first["data"] + second["data"]] == ["local", "key 0", "key 1", "key 2"]
    assert second["next_after"] is None


async def test_a_link_ends_with_the_key_that_made_it(client: httpx.AsyncClient, services: Services) -> None:
    issued = await services.keys.issue("linker", frozenset({Scope.SANDBOXES}))
    headers = bearer(issued.token)
    made = (await client.post("/v1/sandboxes", json={}, headers=headers)).json()
    path = f"/v1/sandboxes/{made['id']}/port-links"
    url = (await client.post(path, json={"port": 8080}, headers=headers)).json()["url"]
    # Nothing listens there, which only who may look finds out.
    assert (await client.get(url, headers={"Authorization": ""})).status_code == 502
    await services.keys.revoke(issued.id)
    assert (await client.get(url, headers={"Authorization": ""})).status_code == 401
