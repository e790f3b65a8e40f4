"""What cannot be: in values, in paths, in states, for things that are not there, and where there is no room."""

import json
import re

import httpx
import pytest

from lm_sandbox.config.access import QuotaSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.errors import failure_of
from tests.conftest import KEY
from tests.surfaces.route_rows import BOX, ROWS
from tests.surfaces.test_limits import app_with, bearer

pytestmark = pytest.mark.anyio
LONG = "n" * 4096
VALUES: tuple[object, ...] = (0, -1, 10**30, "many", [])
BODIES: list[tuple[str, str]] = [
    *(
        (json.dumps({"limits": {name: value}}), f"limits.{name}")
        for name in ("cpus", "memory_mib", "pids", "disk_mib", "open_files")
        for value in VALUES
    ),
    ('{"limits": {"cpus": Infinity}}', "limits.cpus"),
    ('{"limits": {"cpus": NaN}}', "limits.cpus"),
    ('{"limits": {"pids": 1' + "0" * 5000 + "}}", "body"),
    *(
        (json.dumps({"limits": {"cpuset": text}}), "limits.cpuset")
        for text in ("", "0-", "0\0", "9999", LONG)
    ),
    *((json.dumps({"name": text}), "name") for text in ("", "a\0b", "../a", LONG, "\ud800", "a\n")),
    *((json.dumps({"env": {"A": text}}), "env") for text in ("\0", "\ud800", "v" * 40_000)),
    *((json.dumps({"env": {text: "v"}}), "env") for text in ("", "A=B", "\0", "A B")),
    *((json.dumps({"snapshot": text}), "snapshot") for text in ("\0", "\ud800", LONG)),
    *((json.dumps({"image": text}), "image") for text in ("", "\0", "\ud800", "../../etc", "/", LONG)),
    *((json.dumps({name: 0}), name) for name in ("idle_timeout_s", "max_age_s")),
    *((json.dumps({name: -1}), name) for name in ("idle_timeout_s", "max_age_s")),
    ('{"idle_timeout_s": Infinity}', "idle_timeout_s"),
    (json.dumps({"idle_timeout_s": 8 * 86400}), "idle_timeout_s"),
    (json.dumps({"metadata": {"k": "v" * 513}}), "metadata"),
    (json.dumps({"metadata": {str(number): "" for number in range(17)}}), "metadata"),
    *((json.dumps({"gpus": gpus}), "gpus") for gpus in (-1, 65, 1, ["../0"], ["GPU-\0"], ["0"] * 65, LONG)),
    ("[]", "body"),
    ("", "body"),
]


async def test_a_bad_body_is_a_422_that_names_the_field_and_makes_nothing(client: httpx.AsyncClient) -> None:
    for body, field in BODIES:
        answer = await client.post("/v1/sandboxes", content=body)
        told = answer.json()
        assert answer.status_code == 422, (body[:80], told)
        assert told["field"].startswith(field), (body[:80], told)
        assert len(told["detail"]) < 1000
    assert (await client.post("/v1/sandboxes", content=b'{"name": "\xff"}')).json()["field"] == "body"
    assert (await client.get("/v1/sandboxes")).json()["data"] == []


async def test_of_what_may_be_of_several_kinds_the_field_is_named_and_not_the_kind(
    client: httpx.AsyncClient,
) -> None:
    path = f"/v1/sandboxes/{(await client.post('/v1/sandboxes', json={})).json()['id']}/commands"
    for url, body, field in (
        (path, {"command": ["ls", "a\0b"]}, "command.1"),
        (path, {"command": 5}, "command"),
        (path, {}, "command"),
        ("/v1/sandboxes", {"gpus": ["0", "/"]}, "gpus.1"),
    ):
        answer = await client.post(url, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_odd_ids_are_not_found_and_odd_pages_are_refused_or_empty(client: httpx.AsyncClient) -> None:
    for odd in ("%00", "%ff", "..%2f..", LONG, "sb_%2e%2e", "%F0%9F%98%80"):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("GET", "/commands/x")):
            answer = await client.request(method, f"/v1/sandboxes/{odd}{path}")
            assert answer.status_code == 404, (odd, method, path)
        assert (await client.get(f"/v1/snapshots/{odd}")).status_code == 404
    for query in ("limit=0", "limit=-1", "limit=101", "limit=9e99", "state=odd", "metadata=a"):
        assert (await client.get(f"/v1/sandboxes?{query}")).status_code == 422
    assert (await client.get("/v1/sandboxes?name=%00&after=%ff")).json()["data"] == []


async def test_odd_paths_of_files_and_folders_lead_nowhere_else(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    path = f"/v1/sandboxes/{made['id']}"
    for odd, status in (
        ("a%00b", 422),
        (LONG, 422),
        ("/".join(["d" * 200] * 21), 422),
        ("workspace/%ff", 201),
    ):
        for method in ("PUT", "GET", "DELETE"):
            answer = await client.request(
                method, f"{path}/files/{odd}", content=b"x" if method == "PUT" else None
            )
            assert answer.status_code in {status, 200, 204} if status == 201 else answer.status_code == status
    up = await client.get(f"{path}/files/..%2f..%2f..%2fetc%2fpasswd")
    assert up.text.startswith("root:x:0:0:root:/root:/usr/sbin/nologin\nsandbox:"), "its own, not the host's"
    for cwd, status in (("/a\0", 422), ("a", 422), ("/" + LONG, 422)):
        answer = await client.post(f"{path}/commands", json={"command": "pwd", "cwd": cwd})
        assert (answer.status_code, answer.json()["field"]) == (status, "cwd")
    climbed = await client.post(f"{path}/commands", json={"command": "pwd", "cwd": "/workspace/../../.."})
    assert climbed.json()["stdout"] == "/\n"


async def test_every_route_of_a_sandbox_answers_404_for_an_unknown_one_and_410_for_a_deleted_one(
    client: httpx.AsyncClient,
) -> None:
    deleted = (await client.post("/v1/sandboxes", json={})).json()["id"]
    assert (await client.delete(f"/v1/sandboxes/{deleted}")).status_code == 204
    tried = 0
    for (method, path), row in ROWS.items():
        if not path.startswith(BOX) or method == "WS":
            continue
        for sandbox, status in (("sb_unknown", 404), (deleted, 410)):
            filled = path.replace("{sandbox_id}", sandbox).replace("{port}", "80")
            url = re.sub(r"\{[^}]*\}", "stdout", filled) + re.sub(r"\{[^}]*\}", "x", row.query)
            body = re.sub(r"\{\w+\}", "x", json.dumps(row.json)).encode()
            content = row.content if row.content is not None else body
            answer = await client.request("GET" if method == "ANY" else method, url, content=content)
            assert answer.status_code == status, (method, url, answer.text)
            tried += 1
    assert tried > 60


STATES = {
    "paused": ["commands", "shells", "terminals", "pause", "files", "archive", "restore"],
    "stopped": ["commands", "shells", "terminals", "pause", "stop"],
    "running": ["resume", "start"],
}


async def test_what_the_state_does_not_allow_is_a_409_that_names_the_state(client: httpx.AsyncClient) -> None:
    path = f"/v1/sandboxes/{(await client.post('/v1/sandboxes', json={})).json()['id']}"
    snapshot = (await client.post(f"{path}/snapshots", json={})).json()["id"]
    calls = {
        "commands": ("POST", {"command": "true"}),
        "files": ("GET", None),
        "archive": ("GET", None),
        "restore": ("POST", {"snapshot": snapshot}),
    }
    for verb, state in (("pause", "paused"), ("stop", "stopped"), ("start", "running")):
        assert (await client.post(f"{path}/{verb}")).json()["state"] == state
        for name in STATES[state]:
            method, body = calls.get(name, ("POST", {}))
            where = "files/workspace/a" if name == "files" else name
            answer = await client.request(method, f"{path}/{where}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), (
                state,
                name,
                answer.text,
            )
            assert state in answer.json()["detail"]


async def test_more_sandboxes_than_there_may_be_is_a_503_and_than_you_may_have_a_429_that_say_when(
    settings: Settings,
) -> None:
    sandbox = settings.sandbox.model_copy(update={"max_sandboxes": 1})
    async with app_with(settings, sandbox=sandbox) as (http, _):
        http.headers.update(bearer(KEY))
        assert (await http.post("/v1/sandboxes", json={})).status_code == 201
        full = await http.post("/v1/sandboxes", json={})
        assert (full.status_code, full.json()["code"]) == (503, "no_capacity")
        assert int(full.headers["retry-after"]) > 0
    quotas = QuotaSettings(sandboxes=1)
    async with app_with(settings.model_copy(update={"data_dir": settings.data_dir / "q"}), quotas=quotas) as (
        http,
        _,
    ):
        http.headers.update(bearer(KEY))
        assert (await http.post("/v1/sandboxes", json={})).status_code == 201
        refused = await http.post("/v1/sandboxes", json={})
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_reached")
        assert int(refused.headers["retry-after"]) > 0


def test_half_a_character_that_nothing_looked_for_is_the_callers_mistake() -> None:
    with pytest.raises(UnicodeEncodeError) as raised:
        "\ud800".encode()
    assert failure_of(raised.value).status == 422
