"""Users over HTTP, as admins and as they themselves see them."""

import json
from typing import Any

import httpx
import pytest

from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio

NOBODY = {"Authorization": ""}
PASSWORD = 'correct "horse" battery staple'
ANNA: dict[str, Any] = {"name": "anna", "scopes": ["models", "sandboxes"], "password": PASSWORD}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def log_in(client: httpx.AsyncClient, password: str = PASSWORD, **more: str) -> dict[str, Any]:
    form = {"grant_type": "password", "username": "anna", "password": password, **more}
    answer = await client.post("/oauth/token", data=form, headers=NOBODY)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def refused(client: httpx.AsyncClient, **form: str) -> tuple[int, str]:
    answer = await client.post("/oauth/token", data=form, headers=NOBODY)
    return answer.status_code, answer.json()["error"]


async def told_of(client: httpx.AsyncClient, token: str, as_whom: str | None = None) -> dict[str, Any]:
    headers = bearer(as_whom) if as_whom else {}
    answer = await client.post("/oauth/introspect", data={"token": token}, headers=headers)
    told: dict[str, Any] = answer.json()
    return told


async def test_a_user_is_made_listed_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/users", json={**ANNA, "quotas": {"sandboxes": 2}})).json()
    assert (made["name"], made["state"], made["password"]) == ("anna", "active", None)
    assert (await client.post("/v1/users", json={**ANNA, "name": "Anna"})).status_code == 409
    path = f"/v1/users/{made['id']}"
    [listed] = (await client.get("/v1/users", params={"name": "ANNA"})).json()["data"]
    assert listed == (await client.get(path)).json()
    assert "password" not in listed
    changed = (await client.patch(path, json={"scopes": ["files"], "quotas": {"runs": 1}})).json()
    assert (changed["scopes"], changed["quotas"]["sandboxes"], changed["quotas"]["runs"]) == (["files"], 2, 1)
    given = (await client.put(f"{path}/password", json={})).json()
    await log_in(client, given["password"])
    assert (await client.post(f"{path}/logout")).json() == {"ended": 1}
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json()["code"] == "user_not_found"


async def test_a_user_logs_in_works_refreshes_and_logs_out(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/users", json=ANNA)).json()
    given = await log_in(client, client_id="app")
    assert (given["token_type"], given["scope"]) == ("Bearer", "models sandboxes")
    headers = bearer(given["access_token"])
    box = (await client.post("/v1/sandboxes", json={}, headers=headers)).json()["id"]
    renewed = await client.post(
        "/oauth/token", data={"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}, headers=NOBODY
    )  # fmt: skip
    assert renewed.headers["cache-control"] == "no-store"
    headers = bearer(renewed.json()["access_token"])
    assert (await client.get(f"/v1/sandboxes/{box}", headers=headers)).status_code == 200
    seen = (await client.get("/v1/keys/self", headers=headers)).json()
    assert (seen["id"], seen["name"]) == (made["id"], "anna")
    refresh = renewed.json()["refresh_token"]
    about = await told_of(client, refresh, renewed.json()["access_token"])
    assert (about["sub"], about["client_id"], about["token_type"]) == (made["id"], "app", "refresh_token")
    for _ in range(2):
        assert (await client.post("/oauth/revoke", data={"token": refresh}, headers=NOBODY)).json() == {}
    assert (await client.get("/v1/keys/self", headers=headers)).status_code == 401
    assert await told_of(client, refresh) == {"active": False}
    # What the user made is there at the next login.
    headers = bearer((await log_in(client))["access_token"])
    assert (await client.get(f"/v1/sandboxes/{box}", headers=headers)).status_code == 200


async def test_what_is_not_right_is_told_as_oauth_tells_it(client: httpx.AsyncClient) -> None:
    await client.post("/v1/users", json=ANNA)
    right = {"grant_type": "password", "username": "anna", "password": PASSWORD}
    for form, told in (
        ({**right, "password": "wrong"}, "invalid_grant"),
        ({**right, "username": "nobody"}, "invalid_grant"),
        ({**right, "username": ""}, "invalid_request"),
        ({**right, "scope": "admin"}, "invalid_scope"),
        ({**right, "scope": "root"}, "invalid_request"),
        ({**right, "client_id": "a b"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "lms_refresh_x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": PASSWORD}, "invalid_grant"),
    ):
        assert await refused(client, **form) == (400, told), form
    for token, code in (("", 400), ("lms_" + "x" * 43, 400), ("nonsense", 200), ("eyJ.x.y", 200)):
        answer = await client.post("/oauth/revoke", data={"token": token}, headers=NOBODY)
        assert answer.status_code == code, token
    assert answer.json() == {}


async def test_every_kind_of_key_and_token_is_told_of_to_its_owner_only(
    client: httpx.AsyncClient, services: Services
) -> None:
    made = (await client.post("/v1/users", json=ANNA)).json()
    given = await log_in(client)
    other = (await services.keys.issue("other", frozenset())).token
    about = await told_of(client, given["access_token"], given["access_token"])
    assert about["exp"] - about["iat"] == 600
    assert (about["sub"], about["username"], about["iss"]) == (made["id"], "anna", "lm-sandbox")
    assert (await told_of(client, other, other))["token_type"] == "api_key"
    for token in (given["access_token"], given["refresh_token"]):
        assert (await told_of(client, token))["active"] is True
        assert await told_of(client, token, other) == {"active": False}
    for token in ("", "x", "eyJ.x.y", "lms_refresh_x", PASSWORD):
        assert await told_of(client, token) == {"active": False}


async def test_a_user_changes_the_password_with_the_old_one_only(client: httpx.AsyncClient) -> None:
    await client.post("/v1/users", json=ANNA)
    headers = bearer((await log_in(client))["access_token"])
    new = "quite another password"
    path = "/v1/users/self/password"
    wrong = await client.put(path, json={"old": "wrong", "new": new}, headers=headers)
    assert wrong.status_code == 401
    short = await client.put(path, json={"old": PASSWORD, "new": "short"}, headers=headers)
    assert (short.status_code, short.json()["field"]) == (422, "password")
    assert (await client.put(path, json={"old": PASSWORD, "new": new}, headers=headers)).status_code == 204
    assert (await client.get("/v1/keys/self", headers=headers)).status_code == 401
    await log_in(client, new)


async def test_the_audit_has_users_and_logins_and_no_password(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    made = (await client.post("/v1/users", json=ANNA)).json()
    # On the disk before the answer.
    written = "".join(path.read_text() for path in audit_folder(settings.data_dir).glob("*.jsonl"))
    assert '"route":"/v1/users"' in written.replace(" ", "")
    refused_one = {**ANNA, "name": "b", "password": 'short"\\"x'}
    assert (await client.post("/v1/users", json=refused_one)).status_code == 422
    await refused(client, grant_type="password", username="anna", password="a wrong password")
    await refused(client, grant_type="password", username="typed-password", password="x")
    given = await log_in(client)
    for _ in range(2):
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
        await client.post("/oauth/token", data=form, headers=NOBODY)
    await client.put(f"/v1/users/{made['id']}/password", json={"password": f"{PASSWORD} 2"})
    records = (await client.get("/v1/audit", params={"limit": 1000})).json()["data"]
    logins = [(one["outcome"], one.get("who", "")) for one in reversed(records) if one["kind"] == "login"]
    assert logins == [("wrong_password", made["id"]), ("unknown_user", ""), ("ok", made["id"])]
    [ended] = [one for one in records if one["kind"] == "login.ended"]
    assert (ended["outcome"], ended["who"], ended["what"]["reason"]) == ("reused", made["id"], "reuse")
    [changed] = [one for one in records if one["what"].get("route") == "/v1/users/{user_id}/password"]
    assert (changed["kind"], changed["name"]) == ("admin", "local")
    whole = json.dumps(records)
    for secret in (
        "battery",
        "typed-password",
        "wrong password",
        'x"',
        given["refresh_token"],
        given["access_token"],
    ):
        assert secret not in whole
