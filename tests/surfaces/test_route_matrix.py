"""Every route for every kind of principal. A route without a row fails."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import httpx
import jwt
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from lm_sandbox.agent.conversation_store import KeptItem
from lm_sandbox.agent.run_store import RunRecord
from lm_sandbox.app import create_app
from lm_sandbox.config.access import OidcSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.gate import Gate, Visit
from lm_sandbox.identity.issuers import Issuers
from lm_sandbox.identity.key_records import API_KEYS
from lm_sandbox.identity.keys import KeyStore, NewKey
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.rates import Rates
from lm_sandbox.identity.sign_in import Asked, Grant
from lm_sandbox.identity.users import NewUser, UserChange
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.web import ROUTERS
from tests.conftest import KEY
from tests.identity.issuer import AUDIENCE, running_issuer
from tests.surfaces.route_rows import ROWS, Need, Row

pytestmark = pytest.mark.anyio

REFUSED = {
    "keys": ("none", "bad", "basic", "expired", "revoked"),
    "tokens": ("refresh token", "revoked token", "disabled user", "foreign issuer"),
}
PASSWORD = "correct horse battery staple"
EVERYTHING = frozenset(Scope) - {Scope.ADMIN}
OPEN_ROUTES = {("GET", "/docs"), ("GET", "/openapi.json")}
ITEM = KeptItem("msg_1", '{"id": "msg_1", "type": "message", "role": "user", "content": "x"}')
ANY_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass
class World:
    """An app with an owner who has one of everything.

    Attributes:
        ids: What stands in paths for what the owner has.
        tokens: The secrets of other callers, by what they are.
    """

    app: Any
    http: httpx.AsyncClient
    ids: dict[str, str]
    tokens: dict[str, str]

    async def call(self, method: str, path: str, row: Row, token: str | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
        url = self.fill(re.sub(r":\w+}", "}", path) + row.query)
        if method == "WS":
            return await self.handshake(url, headers)
        if row.content is not None:
            if row.content.startswith(b"--b"):
                headers["content-type"] = "multipart/form-data; boundary=b"
            return await self.http.request(method, url, headers=headers, content=row.content)
        body = None if method in {"GET", "HEAD", "DELETE"} else json.loads(self.fill(json.dumps(row.json)))
        return await self.http.request(method, url, headers=headers, json=body)

    def fill(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.ids[found[1]], text)

    async def handshake(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Opens a WebSocket and goes away; tells how the handshake was answered."""
        answers: list[dict[str, Any]] = []
        coming = iter([{"type": "websocket.connect"}])

        async def receive() -> dict[str, Any]:
            return next(coming, {"type": "websocket.disconnect", "code": 1000})

        async def send(message: MutableMapping[str, Any]) -> None:
            answers.append(dict(message))

        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": url,
            "raw_path": url.encode(), "query_string": b"", "root_path": "", "subprotocols": [],
            "headers": [(b"host", b"test"), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
            "client": ("127.0.0.1", 1), "server": ("test", 80), "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await self.app(scope, receive, send)
        if answers[0]["type"] == "websocket.accept":
            return httpx.Response(101)
        assert answers[0]["type"] == "websocket.http.response.start"
        return httpx.Response(answers[0]["status"], content=answers[1].get("body", b""))


@pytest.fixture
async def world(services: Services, client: httpx.AsyncClient) -> World:
    owner = await services.keys.issue("owner", EVERYTHING)
    return await world_of(services, client, owner.token)


async def world_of(services: Services, client: httpx.AsyncClient, token: str) -> World:
    """What there is where the owner of everything comes with this key or token."""
    principal = await services.gate.enter(Visit("198.51.100.1"), token)
    app = client._transport._app  # type: ignore[attr-defined]
    ids = await belongings(services, client, principal, token)
    return World(app, client, ids, {"right": token, "admin": KEY, **await strangers(services)})


async def belongings(
    services: Services, http: httpx.AsyncClient, owner: Principal, token: str
) -> dict[str, str]:
    sandbox = await services.sandboxes.create(owner, NewSandbox())
    container = await services.sandboxes.create(owner, NewSandbox())
    headers = {"Authorization": f"Bearer {token}"}

    async def make(path: str, **body: object) -> str:
        answer = await http.post(f"/v1/sandboxes/{sandbox.id}/{path}", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    put = await http.put(f"/v1/sandboxes/{container.id}/files/workspace/f", content=b"x", headers=headers)
    assert put.status_code == 201
    upload = await services.uploads.add(owner, "a.txt", "user_data", BytesIO(b"x"), None)
    document = {
        "id": "resp_1",
        "status": "completed",
        "background": False,
        "output": [],
        "previous_response_id": None,
    }
    inputs: dict[str, object] = {"items": [], "sandbox_id": None}
    now = datetime.now(UTC)
    await services.runs.add(RunRecord("resp_1", owner.id, now, json.dumps(document), json.dumps(inputs)))
    return {
        "sandbox_id": sandbox.id,
        "container_id": container.id,
        "command_id": await make("commands", command="read x", background=True, keep_stdin_open=True),
        "shell_id": await make("shells"),
        "terminal_id": await make("terminals"),
        "snapshot_id": await make("snapshots"),
        "volume_id": (await services.volumes.create(owner, None, 16, {})).id,
        "response_id": "resp_1",
        "conversation_id": (await services.kept_conversations.add(owner, {}, [ITEM])).id,
        "item_id": ITEM.id,
        "upload_id": upload.id,
        "file_id": "cfile_" + base64.urlsafe_b64encode(b"/workspace/f").rstrip(b"=").decode(),
        "user_id": (await services.users.make(NewUser("spare", EVERYTHING)))[0].id,
        "key_id": (await services.keys.issue("spare", EVERYTHING)).id,
        "path": "workspace/f",
        "stream": "stdout",
        "port": "1",
        "token": "x",
        "engine": "llamacpp",
        "name": "nano",
        "image": "none",
        "digest": "sha256:" + "0" * 64,
    }  # fmt: skip


async def strangers(services: Services) -> dict[str, str]:
    later = datetime.now(UTC) + timedelta(hours=1)
    expired = await services.keys.make(NewKey("expired", frozenset(Scope), expires_at=later))
    await end(services.keys, expired.id)
    revoked = await services.keys.issue("revoked", frozenset(Scope))
    await services.keys.revoke(revoked.id)
    tokens = {"expired": expired.token, "revoked": revoked.token, "bad": "lms_" + "x" * 43}
    for scope in Scope:
        if scope is not Scope.ADMIN:
            others = EVERYTHING - {scope}
            tokens[f"without {scope}"] = (await services.keys.issue(f"without {scope}", others)).token
    tokens["other"] = (await services.keys.issue("other", EVERYTHING)).token
    return tokens | await strangers_with_tokens(services)


async def strangers_with_tokens(services: Services) -> dict[str, str]:
    grants = [
        await logged_in(services, name, frozenset(Scope)) for name in ("anna", "berta", "carla", "dora")
    ]
    await services.tokens.revoke(grants[1].access.value)
    await services.sign_in.change(grants[2].user.id, UserChange(disabled=True))
    narrow = await services.tokens.issue(grants[3].user, frozenset({Scope.METRICS}))
    return {
        "refresh token": grants[0].refresh,
        "revoked token": grants[1].access.value,
        "disabled user": grants[2].access.value,
        "foreign issuer": jwt.encode({"iss": "https://evil.test", "scope": "admin"}, "x" * 32, "HS256"),
        "narrow token": narrow.value,
        "other user": (await logged_in(services, "emma", EVERYTHING)).access.value,
        "admin user": grants[0].access.value,
    }


async def logged_in(services: Services, name: str, scopes: frozenset[Scope]) -> Grant:
    await services.users.make(NewUser(name, scopes, password=PASSWORD))
    return await services.sign_in.by_password(name, PASSWORD, Asked("198.51.100.1"))


async def end(keys: KeyStore, key_id: str) -> None:
    """Puts the end of a key into the past, as no call can."""
    async with keys._records._database.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(API_KEYS.update().where(API_KEYS.c.id == key_id).values(expires_at=past))


def every_route(settings: Settings) -> set[tuple[str, str]]:
    """All that can be called: what the OpenAPI document tells, and what it leaves out."""
    paths = create_app(settings).openapi()["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIWebSocketRoute):
                found.add(("WS", route.path))
            elif isinstance(route, APIRoute) and not route.include_in_schema:
                every = route.methods == set(ANY_METHODS)
                found |= {(method, route.path) for method in (("ANY",) if every else route.methods or ())}
    return found | OPEN_ROUTES


def rows() -> list[tuple[str, str, Row]]:
    """The rows with each method for itself, ids of uploads as the routes call them."""
    return [
        (each, path, row)
        for (method, path), row in ROWS.items()
        for each in (ANY_METHODS if method == "ANY" else (method,))
    ]


def test_every_route_has_a_row(settings: Settings) -> None:
    known = {
        (method, path.replace("{upload_id}", "{file_id}").replace("{image}", "{name}"))
        for method, path in ROWS
    }
    assert known == every_route(settings)


@pytest.mark.parametrize("kinds", REFUSED)
async def test_who_has_no_key_that_works_is_told_nothing(world: World, kinds: str) -> None:
    for method, path, row in rows():
        if row.need in {Need.NOTHING, Need.LINK}:
            continue
        for who in REFUSED[kinds]:
            answer = await refused(world, who, (method, path, row))
            assert answer.status_code == 401, (method, path, who, answer.text)
            if method != "WS":
                assert answer.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD" and who in SAID:
                assert SAID[who] in answer.text
            for name, value in world.ids.items():
                assert not name.endswith("_id") or value not in answer.text


SAID = {
    "expired": "time of this API key is over",
    "revoked": "was revoked",
    "revoked token": "was revoked",
    "disabled user": "login of this token is over",
}


async def refused(world: World, who: str, where: tuple[str, str, Row]) -> httpx.Response:
    method, path, row = where
    if who != "basic":
        return await world.call(method, path, row, world.tokens.get(who))
    url = world.fill(re.sub(r":\w+}", "}", path))
    headers = {"Authorization": "Basic " + base64.b64encode(f"x:{KEY}".encode()).decode()}
    if method == "WS":
        return await world.handshake(url, headers)
    return await world.http.request(method, url, headers=headers)


async def test_a_token_for_something_else_is_refused_though_its_user_may(world: World) -> None:
    for method, path, row in rows():
        if row.need in {Need.NOTHING, Need.LINK, Need.KEY, Need.METRICS}:
            continue
        answer = await world.call(method, path, row, world.tokens["narrow token"])
        assert answer.status_code == 403, (method, path, answer.text)


async def test_who_lacks_the_scope_is_refused_before_anything_is_looked_up(world: World) -> None:
    for method, path, row in rows():
        if row.need in {Need.NOTHING, Need.LINK, Need.KEY}:
            continue
        lacks = "other" if row.need is Need.ADMIN else f"without {row.need}"
        answer = await world.call(method, path, row, world.tokens[lacks])
        assert answer.status_code == 403, (method, path, answer.text)


@pytest.mark.parametrize("who", ["other", "other user"])
async def test_for_another_key_or_user_what_is_owned_does_not_exist(world: World, who: str) -> None:
    for method, path, row in rows():
        if row.owned:
            answer = await world.call(method, path, row, world.tokens[who])
            assert answer.status_code == 404, (method, path, answer.text)
        elif row.listed:
            answer = await world.call(method, path, row, world.tokens[who])
            assert answer.status_code == 200, (method, path, answer.text)
            assert not [
                value for name, value in world.ids.items() if name.endswith("_id") and value in answer.text
            ]
        if row.foreign is not None:
            foreign = Row(row.need, json=row.foreign)
            answer = await world.call(method, path, foreign, world.tokens[who])
            assert answer.status_code == 404, (method, path, answer.text)
    # And nothing of it was touched.
    for method, path, row in rows():
        if row.owned and method == "GET" and path.endswith("_id}"):
            answer = await world.call(method, path, row, world.tokens["right"])
            assert answer.status_code == 200, (method, path, answer.text)


@pytest.fixture(params=["key", "token of a key", "user", "user from elsewhere"])
async def owners_world(
    request: pytest.FixtureRequest, settings: Settings, services: Services, client: httpx.AsyncClient
) -> AsyncIterator[World]:
    """The world of each kind of owner there is."""
    async with running_issuer() as issuer:
        corp = OidcSettings(issuer=issuer.url, audience=AUDIENCE, everyone=tuple(sorted(EVERYTHING)))
        issuers = Issuers({"corp": corp}, services.users)
        gate = Gate(services.keys, services.tokens, Rates(), settings.limits, issuers)
        services = replace(services, issuers=issuers, gate=gate)
        client._transport._app.state.services = services  # type: ignore[attr-defined]
        key = await services.keys.issue("owner", EVERYTHING)
        caller = await services.keys.authenticate(key.token)
        tokens = {
            "key": key.token,
            "token of a key": (await services.tokens.issue(caller, frozenset())).value,
            "user": (await logged_in(services, "owner", EVERYTHING)).access.value,
            "user from elsewhere": issuer.token(),
        }
        yield await world_of(services, client, tokens[request.param])


async def test_who_may_is_let_in_however_it_comes(owners_world: World) -> None:
    await let_in(owners_world, "right")


@pytest.mark.parametrize("who", ["admin", "admin user"])
async def test_an_admin_is_let_in_everywhere(world: World, who: str) -> None:
    await let_in(world, who)


async def let_in(world: World, who: str) -> None:
    wrong: list[object] = []
    for method, path, row in rows():
        if row.need is Need.ADMIN and "admin" not in who:
            continue
        answer = await world.call(method, path, row, world.tokens[who])
        if answer.status_code != row.ok:
            wrong.append((method, path, answer.status_code, answer.text))
        if row.listed:
            assert [
                value for name, value in world.ids.items() if name.endswith("_id") and value in answer.text
            ]
    assert not wrong


async def test_who_calls_is_asked_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{"

    class Unread:
        """Calls the app with a body that says when it is read."""

        async def receive(self) -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(body()), "more_body": True}

    answers: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message)

    for path in ("/v1/sandboxes", "/v1/chat/completions", "/v1/files", "/v1/keys", "/run-bash/"):
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "POST",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [],
            "client": ("127.0.0.1", 1), "server": ("test", 80),
        }  # fmt: skip
        await client._transport._app(scope, Unread().receive, send)  # type: ignore[attr-defined]
        assert answers[0]["status"] == 401
        answers.clear()
    assert not read
