"""Volumes over HTTP and on the command line."""

import json
import subprocess
from typing import Any

import httpx
import pytest

from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.conftest import Server, lm_sandbox, serving
from tests.sandboxes.imaged import needs_images

pytestmark = [pytest.mark.anyio, needs_images]
SMALL = {"size_mib": 16}
KEY = "a-key-for-the-tests-of-volumes"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/v1/volumes", json={**SMALL, **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def sandbox_with(client: httpx.AsyncClient, *mounts: dict[str, object]) -> str:
    answer = await client.post("/v1/sandboxes", json={"mounts": list(mounts)})
    assert answer.status_code == 201, answer.text
    return f"/v1/sandboxes/{answer.json()['id']}"


async def shell(client: httpx.AsyncClient, box: str, command: str) -> str:
    return str((await client.post(f"{box}/commands", json={"command": command})).json()["stdout"])


async def test_a_volume_is_made_mounted_shared_kept_and_deleted(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    volume = await make(client, name="models", metadata={"for": "tests"})
    assert (volume["name"], volume["size_bytes"], volume["metadata"]) == (
        "models",
        16 << 20,
        {"for": "tests"},
    )
    assert volume["enforced"] == "16 MiB (the size of its ext4 file system)"
    writer = await sandbox_with(client, {"volume": "models", "path": "/data"})
    reader = await sandbox_with(client, {"volume": volume["id"], "path": "/mnt/in", "read_only": True})
    assert await shell(client, writer, "echo kept > /data/a && ls /data") == "a\n"
    assert await shell(client, reader, "cat /mnt/in/a; touch /mnt/in/b || echo no") == "kept\nno\n"
    told = (await client.get(reader)).json()["mounts"]
    assert told == [{"id": volume["id"], "volume": "models", "path": "/mnt/in", "read_only": True}]

    path = f"/v1/volumes/{volume['id']}"
    refused = await client.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await client.delete(writer)
    assert (await client.delete(path)).status_code == 409
    await client.delete(reader)
    later = await sandbox_with(client, {"volume": "models", "path": "/data"})
    assert await shell(client, later, "cat /data/a") == "kept\n"
    await client.delete(later)

    assert (await client.get("/v1/volumes/models")).json() == volume
    assert (await client.delete("/v1/volumes/models")).status_code == 204
    gone = await client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "volume_not_found")
    assert list((settings.data_dir / "volumes").iterdir()) == []


async def test_volumes_are_listed_in_pages_by_name_and_by_metadata(client: httpx.AsyncClient) -> None:
    made = [
        (await make(client, name=f"v{number}", metadata={"n": str(number), "of": "all"}))["id"]
        for number in range(3)
    ]
    first = (await client.get("/v1/volumes", params={"limit": 2})).json()
    second = (await client.get("/v1/volumes", params={"after": first["next_after"]})).json()
    assert [one["id"] for one in first["data"] + second["data"]] == made
    assert second["next_after"] is None
    for query, found in (
        ("name=v1", made[1:2]),
        ("metadata=of=all", made),
        ("metadata=of=all&metadata=n=2", made[2:]),
        ("metadata=of=none", []),
    ):
        listed = (await client.get(f"/v1/volumes?{query}")).json()["data"]
        assert [one["id"] for one in listed] == found, query
    refused = await client.get("/v1/volumes?metadata=of")
    assert (refused.status_code, refused.json()["field"]) == (422, "metadata")


async def test_the_audit_tells_which_volumes_a_sandbox_got(client: httpx.AsyncClient) -> None:
    volume = (await make(client, name="v"))["id"]
    box = await sandbox_with(client, {"volume": "v", "path": "/data"})
    await client.delete(box)
    await client.delete("/v1/volumes/v")
    told = (await client.get("/v1/audit", params={"limit": 100})).json()["data"]
    made = [one["what"] for one in told if one["kind"] == "sandbox.made"]
    assert [one["volumes"] for one in made] == [[volume]]
    asked = [one["what"].get("route") for one in told if one["kind"] == "request"]
    assert {"/v1/volumes", "/v1/volumes/{volume_id}"} <= set(asked)


async def test_a_name_is_given_once_by_each_owner(client: httpx.AsyncClient, services: Services) -> None:
    other = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    theirs = {"Authorization": f"Bearer {other.token}"}
    await make(client, name="same")
    again = await client.post("/v1/volumes", json={**SMALL, "name": "same"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    own = await client.post("/v1/volumes", json={**SMALL, "name": "same"}, headers=theirs)
    assert own.status_code == 201
    body = {"mounts": [{"volume": "same", "path": "/data"}]}
    mounted = (await client.post("/v1/sandboxes", json=body, headers=theirs)).json()["mounts"]
    assert mounted[0]["id"] == own.json()["id"]


async def test_nobody_mounts_what_is_anothers(client: httpx.AsyncClient, services: Services) -> None:
    volume = await make(client, name="mine")
    other = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    theirs = {"Authorization": f"Bearer {other.token}"}
    for named in ("mine", volume["id"]):
        body = {"mounts": [{"volume": named, "path": "/data"}]}
        answer = await client.post("/v1/sandboxes", json=body, headers=theirs)
        assert (answer.status_code, answer.json()["field"]) == (422, "mounts.0.volume")


@pytest.mark.parametrize(
    ("mounts", "field"),
    [
        ([{"volume": "none", "path": "/data"}], "mounts.0.volume"),
        ([{"volume": "v", "path": "/etc/x"}], "mounts.0.path"),
        ([{"volume": "v", "path": "/data/../etc"}], "mounts.0.path"),
        ([{"volume": "v", "path": "/a"}, {"volume": "v", "path": "/b"}], "mounts.1.volume"),
        ([{"volume": "v", "path": "/a", "mode": "rw"}], "mounts.0.mode"),
    ],
)
async def test_what_cannot_be_mounted_is_refused_by_name(
    client: httpx.AsyncClient, mounts: list[dict[str, str]], field: str
) -> None:
    await make(client, name="v")
    answer = await client.post("/v1/sandboxes", json={"mounts": mounts})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert (await client.get("/v1/sandboxes")).json()["data"] == []


async def test_what_a_volume_may_hold_is_bounded_by_the_server_and_the_owners_quota(
    client: httpx.AsyncClient,
) -> None:
    over = await client.post("/v1/volumes", json={"size_mib": 10**6})
    assert (over.status_code, over.json()["field"]) == (422, "size_mib")
    key = {"name": "small", "scopes": ["sandboxes"], "quotas": {"stored_mib": 40}}
    token = (await client.post("/v1/keys", json=key)).json()["token"]
    theirs = {"Authorization": f"Bearer {token}"}
    codes = [(await client.post("/v1/volumes", json=SMALL, headers=theirs)).status_code for _ in range(3)]
    assert codes == [201, 201, 429]


async def test_no_more_is_promised_than_the_disk_has(client: httpx.AsyncClient, settings: Settings) -> None:
    volume = await make(client)
    with (settings.data_dir / "volumes" / volume["id"]).open("r+b") as promised:
        promised.truncate(8 << 40)
    answer = await client.post("/v1/volumes", json=SMALL)
    assert (answer.status_code, answer.json()["code"]) == (503, "no_capacity"), answer.text


async def test_the_verbs_make_show_mount_and_delete(server: Server, command_env: dict[str, str]) -> None:
    def call(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [lm_sandbox(), *words], env=command_env, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        return (done.stdout + done.stderr).strip()

    assert server.url
    volume = call("volumes", "create", "shared", "--size-mib", "16")
    box = call("sandbox", "create", "--mount", "shared:/data:ro", "--name", "reader")
    shown = json.loads(call("volumes", "show", "shared", "--json"))
    assert (shown["id"], shown["mounted"]) == (volume, ["/data of reader, read-only"])
    assert "shared, read-only" in call("sandbox", "show", box)
    assert "delete them first" in call("volumes", "delete", "shared", status=1)
    assert "16 MiB" in call("volumes", "list")
    call("sandbox", "delete", box)
    call("volumes", "delete", "shared")
    assert json.loads(call("volumes", "list", "--json")) == []
    assert "VOLUME:/PATH" in call("sandbox", "create", "--mount", "shared", status=2)


async def test_the_server_after_a_killed_one_knows_what_is_mounted(command_env: dict[str, str]) -> None:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY}
    with serving(env) as (process, server), calling(server) as client:
        assert client.post("/v1/volumes", json={**SMALL, "name": "v"}).status_code == 201
        body = {"mounts": [{"volume": "v", "path": "/data"}]}
        box = f"/v1/sandboxes/{client.post('/v1/sandboxes', json=body).json()['id']}"
        client.post(f"{box}/commands", json={"command": "echo kept > /data/a"})
        process.kill()
    with serving(env) as (_, server), calling(server) as client:
        told = client.get(box).json()
        assert (told["state"], [one["volume"] for one in told["mounts"]]) == ("running", ["v"])
        assert client.delete("/v1/volumes/v").status_code == 409
        answer = client.post(f"{box}/commands", json={"command": "cat /data/a"})
        assert answer.json()["stdout"] == "kept\n"
        client.delete(box)
        assert client.delete("/v1/volumes/v").status_code == 204


def calling(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
