"""Limits of sandboxes over HTTP: asked for, changed while they live, refused."""

import os

import httpx
import pytest

from lm_sandbox.config.settings import Settings
from tests.conftest import KEY
from tests.surfaces.test_limits import app_with, bearer

pytestmark = pytest.mark.anyio
CORE = str(min(os.sched_getaffinity(0)))


async def made(client: httpx.AsyncClient, **body: object) -> tuple[str, dict[str, str]]:
    answer = (await client.post("/v1/sandboxes", json=body)).json()
    limits: dict[str, str] = answer["enforced"]["limits"]
    return f"/v1/sandboxes/{answer['id']}", limits


async def test_limits_are_changed_while_it_lives_and_stay_over_stop_and_start(
    client: httpx.AsyncClient,
) -> None:
    path, before = await made(client, limits={"pids": 60})
    asked = {"cpus": 0.75, "memory_mib": 100, "cpuset": f"{CORE},{CORE}"}
    answer = await client.patch(path, json={"limits": asked, "metadata": {"a": "b"}})
    assert answer.status_code == 200, answer.text
    told = answer.json()["enforced"]["limits"]
    assert told["cpus"].startswith("0.75 (cgroup v")
    assert told["cpuset"].startswith(f"{CORE} (cgroup v")
    assert told["memory"].startswith("612 MiB (")
    assert {name: told[name] for name in ("pids", "disk")} == {
        name: before[name] for name in ("pids", "disk")
    }
    assert (await client.post(f"{path}/stop")).json()["enforced"]["limits"] == told
    assert (await client.patch(path, json={"limits": {"pids": 40}})).status_code == 200
    after = (await client.post(f"{path}/start")).json()["enforced"]["limits"]
    assert after == {**told, "pids": told["pids"].replace("60", "40")}
    ran = await client.post(f"{path}/commands", json={"command": "nproc"})
    assert ran.json()["stdout"] == "1\n"


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"disk_mib": 100}, "limits.disk_mib", "disk_mib cannot be changed while a sandbox lives"),
    ({"open_files": 100, "pids": 50}, "limits.open_files", "open_files cannot be changed"),
    ({"memory_mib": 1025}, "limits.memory_mib", "memory_mib may be 1024 at most"),
    ({"cpus": 2.5}, "limits.cpus", "cpus may be 2 at most"),
    ({"pids": 10**12}, "limits.pids", "pids may be 256 at most"),
    ({"cpuset": "3-1"}, "limits.cpuset", "0-3,8"),
    ({"cpuset": "0;rm"}, "limits.cpuset", "0-3,8"),
    ({"cpuset": "8100"}, "limits.cpuset", "cpuset may be within"),
]


async def test_a_change_that_cannot_be_is_refused_by_name_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    path, before = await made(client)
    for asked, field, says in REFUSED:
        answer = await client.patch(path, json={"limits": asked, "name": "other"})
        told = answer.json()
        assert (answer.status_code, told["field"]) == (422, field), told
        assert says in told["detail"]
        now = (await client.get(path)).json()
        assert (now["enforced"]["limits"], now["name"]) == (before, now["id"])


async def test_a_limit_below_what_is_in_use_is_a_conflict_that_says_how_much_that_is(
    client: httpx.AsyncClient,
) -> None:
    path, before = await made(client)
    await client.post(
        f"{path}/commands", json={"command": "for i in {1..9}; do sleep 99 >/dev/null 2>&1 & done"}
    )
    answer = await client.patch(path, json={"limits": {"pids": 5}})
    assert (answer.status_code, answer.json()["code"]) == (409, "limit_in_use")
    assert "processes now; pids cannot be 5" in answer.json()["detail"]
    assert (await client.get(path)).json()["enforced"]["limits"] == before


async def test_the_cores_of_the_settings_are_those_of_every_sandbox_and_the_most_one_gets(
    settings: Settings,
) -> None:
    sandbox = settings.sandbox.model_copy(update={"cpuset": CORE})
    async with app_with(settings, sandbox=sandbox) as (http, _):
        http.headers.update(bearer(KEY))
        path, limits = await made(http)
        assert limits["cpuset"].startswith(f"{CORE} (cgroup v")
        answer = await http.patch(path, json={"limits": {"cpuset": "0-63"}})
        assert answer.json()["detail"] == f"cpuset may be within {CORE} on this server."
