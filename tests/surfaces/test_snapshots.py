"""Snapshots over HTTP."""

import httpx
import pytest

from lm_sandbox.config import Settings
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
