"""A server whose database goes away and comes back."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import serving
from tests.postgresql import PostgreSqlServer, postgresql_server

KEY = "a-key-for-the-tests-of-databases"


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSqlServer]:
    with postgresql_server() as server:
        yield server


def test_without_its_database_a_server_says_so_and_goes_on_by_itself(
    own_postgresql: PostgreSqlServer, command_env: dict[str, str]
) -> None:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY, "LM_SANDBOX_DATABASE__URL": own_postgresql.new_url()}
    headers = {"Authorization": f"Bearer {KEY}"}
    with serving(env) as (_, server), httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
        box = f"/v1/sandboxes/{http.post('/v1/sandboxes', json={}).json()['id']}"
        slow = {"command": "until [ -e go ]; do sleep 0.05; done; echo done", "background": True}
        command = http.post(f"{box}/commands", json=slow).json()["id"]
        own_postgresql.stop()
        refused = _until_refused(http, box)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert http.post("/v1/sandboxes", json={}).status_code == 503
        assert http.delete(box).status_code == 503
        ready = http.get("/readyz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "2")
        assert http.get("/healthz").status_code == 200
        own_postgresql.start()
        assert http.get("/readyz").status_code == 200
        assert _json(http.post(f"{box}/commands", json={"command": "touch go"}))["exit_code"] == 0
        found = _json(http.get(f"{box}/commands/{command}", params={"wait_s": 30}))
        assert found["stdout"] == "done\n"
        assert http.delete(box).status_code == 204
        assert http.get(box).status_code == 410
        assert _json(http.get("/v1/sandboxes"))["data"] == []


def _until_refused(http: httpx.Client, path: str) -> httpx.Response:
    """A key is remembered for a moment."""
    while (answer := http.get(path)).is_success:
        pass
    return answer


def _json(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found
