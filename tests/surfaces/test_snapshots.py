"""Snapshots over HTTP."""

import httpx
import pytest

from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services

pytestmark = pytest.mark.anyio


async def shell(client: httpx.AsyncClient, sandbox: str, command: str) -> str:
    answer = await client.post(f"/v1/sandboxes/{sandbox}/commands", json={"command": command})
    return str(answer.json()["stdout"])


async def test_a_snapshot_is_made_forked_compared_restored_and_deleted(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    sandbox = (await client.post("/v1/sandboxes", json={})).json()["id"]
    await shell(client, sandbox, "echo one > a")
    made = await client.post(f"/v1/sandboxes/{sandbox}/snapshots", json={"name": "first"})
    assert made.status_code == 201, made.text
    snapshot = made.json()["id"]
    await shell(client, sandbox, "echo two > a; echo new > b")

    changes = (await client.get(f"/v1/sandboxes/{sandbox}/changes", params={"since": snapshot})).json()
    assert changes == {
        "data": [
            {"kind": "modified", "path": "/workspace/a"},
            {"kind": "created", "path": "/workspace/b"},
        ],
        "truncated": False,
    }
    forks = [(await client.post("/v1/sandboxes", json={"snapshot": snapshot})).json()["id"] for _ in range(2)]
    assert [await shell(client, fork, "cat *") for fork in forks] == ["one\n", "one\n"]
    back = await client.post(f"/v1/sandboxes/{sandbox}/restore", json={"snapshot": snapshot})
    assert back.json()["state"] == "running"
    assert await shell(client, sandbox, "cat *") == "one\n"

    await client.delete(f"/v1/sandboxes/{sandbox}")
    assert [row["name"] for row in (await client.get("/v1/snapshots")).json()["data"]] == ["first"]
    assert (await client.get(f"/v1/snapshots/{snapshot}")).json()["sandbox"] == sandbox
    assert (await client.delete(f"/v1/snapshots/{snapshot}")).status_code == 204
    assert (await client.get(f"/v1/snapshots/{snapshot}")).status_code == 404
    assert list((settings.data_dir / "snapshots").iterdir()) == []


@pytest.mark.parametrize("background", [False, True])
async def test_what_a_command_did_to_the_files_is_seen_and_undone(
    client: httpx.AsyncClient, *, background: bool
) -> None:
    sandbox = f"/v1/sandboxes/{(await client.post('/v1/sandboxes', json={})).json()['id']}"
    await client.post(f"{sandbox}/commands", json={"command": "echo one > a; echo keep > b"})
    body = {"command": "rm b; echo two > a; mkdir c", "checkpoint": True, "background": background}
    answer = (await client.post(f"{sandbox}/commands", json=body)).json()
    ended = (await client.get(f"{sandbox}/commands/{answer['id']}", params={"wait_s": 20})).json()
    before = answer["checkpoint"]
    assert before == ended["checkpoint"]
    changes = (await client.get(f"{sandbox}/changes", params={"since": before})).json()["data"]
    assert {(change["kind"], change["path"]) for change in changes} == {
        ("modified", "/workspace/a"),
        ("deleted", "/workspace/b"),
        ("created", "/workspace/c"),
    }
    assert (await client.post(f"{sandbox}/restore", json={"snapshot": before})).is_success
    assert await shell(client, sandbox.rpartition("/")[2], "cat a b; ls") == "one\nkeep\na\nb\n"


async def test_an_image_is_refused_by_a_driver_that_takes_none(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sandboxes", json={"image": "debian:12"})
    assert (answer.status_code, answer.json()["field"]) == (422, "image")


async def test_a_snapshot_of_another_does_not_exist(client: httpx.AsyncClient, services: Services) -> None:
    sandbox = (await client.post("/v1/sandboxes", json={})).json()["id"]
    snapshot = (await client.post(f"/v1/sandboxes/{sandbox}/snapshots", json={})).json()["id"]
    issued = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    other = {"Authorization": f"Bearer {issued.token}"}
    assert (await client.get(f"/v1/snapshots/{snapshot}", headers=other)).status_code == 404
    assert (await client.delete(f"/v1/snapshots/{snapshot}", headers=other)).status_code == 404
    forked = await client.post("/v1/sandboxes", json={"snapshot": snapshot}, headers=other)
    assert (forked.status_code, forked.json()["code"]) == (404, "snapshot_not_found")
    assert (await client.get("/v1/snapshots", headers=other)).json()["data"] == []
