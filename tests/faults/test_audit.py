"""Servers that are killed in the middle of their work leave a chain that holds."""

import signal
from pathlib import Path
from threading import Thread

import httpx
import pytest

from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.reading import Query, search
from lm_sandbox.audit.verification import verify
from tests.conftest import Server, serving

ROUNDS, CLIENTS, ADMIN_CHANGES = 3, 3, 5


def work(server: Server) -> None:
    """Commands, one after the other, until nobody answers any more."""
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=60
    ) as http:
        try:
            box = http.post("/v1/sandboxes", json={}).json()["id"]
            while True:
                http.post(f"/v1/sandboxes/{box}/commands", json={"command": "echo hi"})
        except (httpx.TransportError, ValueError):
            return


@pytest.mark.timeout(300)
def test_kill_9_under_load_loses_no_admins_change_and_breaks_no_chain(command_env: dict[str, str]) -> None:
    env = {**command_env, "LM_SANDBOX_API_KEY": "a-key-for-all-of-these-servers"}
    folder = audit_folder(Path(env["LM_SANDBOX_DATA_DIR"]))
    acknowledged: set[str] = set()
    for _ in range(ROUNDS):
        with serving(env) as (process, started):
            server = Server(started.url, env["LM_SANDBOX_API_KEY"], started.pid, started.data_dir)
            clients = [Thread(target=work, args=(server,)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            headers = {"Authorization": f"Bearer {server.key}"}
            for _ in range(ADMIN_CHANGES):
                answer = httpx.post(
                    f"{server.url}/v1/engines/llamacpp/unload",
                    json={"model": "nano"},
                    headers=headers,
                    timeout=60,
                )
                assert answer.status_code == 204
                acknowledged.add(answer.headers["x-request-id"])
            process.send_signal(signal.SIGKILL)
            process.wait()
            for client in clients:
                client.join()
        report = verify(folder)
        assert report.whole, report.findings
    changes = search(folder, Query(kind="admin"), 1000).records
    assert {record["request"] for record in changes} == acknowledged
    assert search(folder, Query(kind="command"), 10).records
