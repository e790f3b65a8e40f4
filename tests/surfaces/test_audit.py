"""What the server records: who did what, whichever way it came."""

import json
import stat
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from lm_sandbox.app import create_app
from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.verification import verify
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import AuditUnavailable
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio

Record = dict[str, Any]


async def records(client: httpx.AsyncClient, **query: str | int) -> list[Record]:
    answer = await client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[Record] = answer.json()["data"]
    return found


@pytest.fixture
async def sandbox(client: httpx.AsyncClient) -> str:
    return str((await client.post("/v1/sandboxes", json={})).json()["id"])


async def test_a_command_is_recorded_with_who_what_and_how_it_ended(
    client: httpx.AsyncClient, sandbox: str
) -> None:
    path = f"/v1/sandboxes/{sandbox}/commands"
    body = {"command": "echo hi; exit 3 # token=abcdefgh12345678", "env": {"MY_NAME": "hidden-value"}}
    answer = await client.post(path, json=body, headers={"X-Request-Id": "mine-12345678"})
    assert answer.headers["x-request-id"] == "mine-12345678"
    ended, started = await records(client, request="mine-12345678", kind="command")
    assert started["kind"] == "command.started"
    assert started["what"]["text"] == "echo hi; exit 3 # token=[redacted]"
    assert started["what"]["sandbox"] == ended["what"]["sandbox"] == sandbox
    assert started["what"]["env"] == ["MY_NAME"]
    assert started["name"] == "local"
    assert (ended["outcome"], ended["what"]["exit_code"]) == ("failed", 3)
    assert ended["what"]["command"] == started["what"]["command"] == answer.json()["id"]
    assert ended["ms"] > 0
    [request] = await records(client, request="mine-12345678", kind="request")
    assert request["what"]["route"] == "/v1/sandboxes/{sandbox_id}/commands"
    assert request["what"]["status"] == 200
    assert "hidden-value" not in json.dumps(await records(client, limit=1000))


async def test_files_are_recorded_by_path_whichever_surface_touches_them(
    client: httpx.AsyncClient, sandbox: str
) -> None:
    at = f"/v1/sandboxes/{sandbox}/files/workspace"
    await client.put(f"{at}/a.txt", content=b"secret content")
    await client.get(f"{at}/a.txt")
    await client.patch(f"{at}/a.txt", json={"action": "move", "to": "/workspace/b.txt"})
    await client.get(f"/v1/containers/{sandbox}/files")
    await client.delete(f"{at}/b.txt")
    await client.get(f"{at}/missing")
    found = await records(client, kind="files", sandbox=sandbox)
    told = [(one["kind"], one["what"]["path"], one["outcome"]) for one in reversed(found)]
    assert told == [
        ("files.write", "/workspace/a.txt", "ok"),
        ("files.read", "/workspace/a.txt", "ok"),
        ("files.move", "/workspace/a.txt", "ok"),
        ("files.delete", "/workspace/b.txt", "ok"),
        ("files.read", "/workspace/missing", "file_not_found"),
    ]
    assert "secret content" not in json.dumps(await records(client, limit=1000))


async def test_refused_keys_and_scopes_are_recorded_without_the_key(
    client: httpx.AsyncClient, services: Services
) -> None:
    await client.get("/v1/models", headers={"Authorization": "Bearer a-wrong-key-of-someone"})
    issued = await services.keys.issue("narrow", frozenset({Scope.MODELS}))
    await client.get("/v1/sandboxes", headers={"Authorization": f"Bearer {issued.token}"})
    [refused] = await records(client, kind="key.refused")
    assert (refused["outcome"], refused.get("who", "")) == ("unauthenticated", "")
    [scope] = await records(client, kind="scope.refused")
    assert (scope["name"], scope["who"]) == ("narrow", issued.id)
    everything = json.dumps(await records(client, limit=1000))
    assert "a-wrong-key" not in everything
    assert issued.token not in everything


async def test_an_admins_change_is_on_the_disk_before_its_answer(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    answer = await client.post("/v1/engines/llamacpp/unload", json={"model": "nano"})
    assert answer.status_code == 204
    # Read from the disk, without asking the server, which would write first.
    [segment] = audit_folder(settings.data_dir).glob("*.jsonl")
    [record] = [
        one for line in segment.read_text().splitlines() if (one := json.loads(line))["kind"] == "admin"
    ]
    assert record["what"]["route"] == "/v1/engines/{engine}/unload"
    assert json.loads(record["what"]["asked"]) == {"model": "nano"}
    assert record["request"] == answer.headers["x-request-id"]


async def test_nothing_is_changed_by_an_admin_that_cannot_be_recorded(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise AuditUnavailable("The audit cannot be written.")

    with monkeypatch.context() as patched:
        patched.setattr(services.audit, "require", fail)
        answer = await client.post("/v1/engines/llamacpp/unload", json={"model": "nano"})
    assert answer.status_code == 503
    assert answer.json()["code"] == "audit_unavailable"

    async def fail_late() -> None:
        fail()

    with monkeypatch.context() as patched:
        patched.setattr(services.audit, "flush", fail_late)
        late = await client.post("/v1/engines/llamacpp/unload", json={"model": "nano"})
    assert late.status_code == 503
    assert late.json()["code"] == "audit_unavailable"
    assert late.headers["x-request-id"]


async def test_only_admins_read_it(client: httpx.AsyncClient, services: Services) -> None:
    issued = await services.keys.issue("other", frozenset({Scope.SANDBOXES, Scope.MODELS}))
    headers = {"Authorization": f"Bearer {issued.token}"}
    for path in ("/v1/audit", "/v1/audit/verification", "/v1/audit/export"):
        assert (await client.get(path, headers=headers)).status_code == 403


async def test_the_chain_is_verified_and_exported_over_http(
    client: httpx.AsyncClient, sandbox: str, settings: Settings
) -> None:
    report = (await client.get("/v1/audit/verification")).json()
    assert report["whole"]
    assert report["last"] == report["records"] == report["signed"]
    exported = await client.get("/v1/audit/export")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert any(line["what"].get("sandbox") == sandbox for line in lines)
    key = audit_folder(settings.data_dir) / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert verify(audit_folder(settings.data_dir)).whole


@pytest.mark.parametrize(
    "sent",
    ["short", "x" * 65, "with space 1234", "a\tb-1234567", "<script>12345", "ünïcode1234", '"},{"a":1234'],
)
async def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get("/healthz", headers={b"X-Request-Id": sent.encode()})
    assert answer.headers.get_list("x-request-id") != [sent]
    assert answer.headers["x-request-id"].startswith("req_")


async def test_every_answer_has_a_request_id(client: httpx.AsyncClient) -> None:
    seen = set()
    for path in ("/healthz", "/nowhere", "/v1/sandboxes/sb_none", "/docs", "/openapi.json"):
        seen.add((await client.get(path)).headers["x-request-id"])
    assert len(seen) == 5


async def test_terminals_sandboxes_and_refused_connections_are_recorded(client: httpx.AsyncClient) -> None:
    made = (
        await client.post("/v1/sandboxes", json={"egress": {"mode": "allowlist", "allow": ["example.com"]}})
    ).json()
    path = f"/v1/sandboxes/{made['id']}"
    await client.post(f"{path}/terminals", json={"command": ["/bin/true"]})
    await client.post(f"{path}/commands", json={"command": "curl -sm 5 http://evil.example:81/ || true"})
    await client.delete(path)
    found = {one["kind"]: one for one in await records(client, sandbox=made["id"])}
    assert found["sandbox.made"]["outcome"] == "ok"
    assert found["terminal.opened"]["what"]["command"] == ["/bin/true"]
    assert found["egress.changed"]["what"]["subject"] == "allowlist"
    assert found["sandbox.gone"]["what"]["reason"] == "deleted"
    denied = found["egress.denied"]
    assert denied["outcome"] == "denied"
    assert "evil.example:81" in denied["what"]["subject"]


async def test_what_a_model_runs_is_recorded_as_its_callers(client: httpx.AsyncClient) -> None:
    body = {"model": "nano+bash", "messages": [{"role": "user", "content": "Which Linux is this?"}]}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    request = answer.headers["x-request-id"]
    started = await records(client, request=request, kind="command.started")
    assert len(started) >= 1
    assert started[0]["name"] == "local"


async def test_links_are_not_recorded_with_their_token(client: httpx.AsyncClient, sandbox: str) -> None:
    link = (await client.post(f"/v1/sandboxes/{sandbox}/port-links", json={"port": 8000})).json()["url"]
    await client.get(httpx.URL(link).path + "page", headers={"Authorization": ""})
    token = link.split("/port-links/")[1].split("/")[0]
    found = await records(client, limit=1000)
    assert any(one["what"].get("route", "").startswith("/v1/port-links/") for one in found)
    assert token not in json.dumps(found)


async def test_every_command_is_recorded_once(client: httpx.AsyncClient, sandbox: str) -> None:
    await client.post(f"/v1/sandboxes/{sandbox}/commands", json={"command": "true", "background": True})
    await client.post(f"/v1/sandboxes/{sandbox}/commands", json={"command": "true", "stream": True})
    for command in (await client.get(f"/v1/sandboxes/{sandbox}/commands")).json()["data"]:
        await client.get(f"/v1/sandboxes/{sandbox}/commands/{command['id']}", params={"wait_s": 10})
    for kind in ("command.started", "command.ended"):
        assert len(await records(client, kind=kind, sandbox=sandbox)) == 2


async def test_a_websocket_is_a_request_too(
    client: httpx.AsyncClient, services: Services, settings: Settings
) -> None:
    app = create_app(settings)
    app.state.services = services
    answers: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message)

    path = "/v1/sandboxes/sb_none/terminals/term_none/ws"
    headers = [(b"host", b"test"), (b"authorization", b"Bearer wrong-key"), (b"x-request-id", b"ws-12345678")]
    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "subprotocols": [], "headers": headers,
        "client": ("192.0.2.7", 1), "server": ("test", 80), "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await app(scope, receive, send)
    assert (b"x-request-id", b"ws-12345678") in answers[0]["headers"]
    [refused] = await records(client, request="ws-12345678")
    assert (refused["kind"], refused["from"], refused["what"]["method"]) == ("key.refused", "192.0.2.7", "WS")
    assert refused["what"]["route"] == "/v1/sandboxes/{sandbox_id}/terminals/{terminal_id}/ws"
