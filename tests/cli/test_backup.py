"""What a running server keeps comes back from a backup as it was, on either database."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.verification import verify
from tests.conftest import command_environment, lm_sandbox, serving
from tests.postgresql import PostgreSqlServer
from tests.several.conftest import KEY, Cluster, Node, told


def call(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([lm_sandbox(), *arguments], env=env, capture_output=True, text=True, check=False)


def fill(node: Node) -> dict[str, str]:
    """Has a server keep one of everything."""
    http = node.http
    key = told(http.post("/v1/keys", json={"name": "ci", "scopes": ["sandboxes", "files"]}))
    box = node.make(name="kept")
    node.run(box, "echo saved > file; ln -s file link; mkfifo pipe; chmod 700 file")
    snapshot = told(http.post(f"{box}/snapshots", json={"name": "before"}))["id"]
    files = {"file": ("a.txt", b"content"), "purpose": (None, "user_data")}
    upload = told(http.post("/v1/files", files=files))["id"]
    token = told(http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("x", KEY)))
    return {"key": key["token"], "snapshot": snapshot, "upload": upload, "token": token["access_token"]}


@pytest.mark.timeout(300)
def test_a_backup_of_a_running_server_is_restored_on_either_database(
    cluster: Cluster, tmp_path: Path, postgresql: PostgreSqlServer
) -> None:
    node = cluster.start()
    kept = fill(node)
    file = tmp_path / "backup"
    made = call(cluster.env, "backup", str(file), "--json")
    assert made.returncode == 0, made.stderr
    assert (file.stat().st_mode & 0o777, json.loads(made.stdout)["files"]) == (0o600, 2)
    assert call(cluster.env, "backup", str(file)).returncode == 1
    refused = call(cluster.env, "restore", str(file))
    assert (refused.returncode, "A server runs" in refused.stderr) == (1, True)
    # On the other system than the one that it was made on.
    env = command_environment(tmp_path / "other")
    env["LM_SANDBOX_API_KEY"] = KEY
    if "LM_SANDBOX_DATABASE__URL" not in cluster.env:
        env["LM_SANDBOX_DATABASE__URL"] = postgresql.new_url()
    restored = call(env, "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    report = verify(audit_folder(tmp_path / "other"))
    assert report.whole, report.findings
    assert report.records > 5
    with serving(env) as (_, server):
        headers = {"Authorization": f"Bearer {kept['key']}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
            assert told(http.get("/v1/keys/self"))["name"] == "ci"
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        ) as http:
            assert http.get(f"/v1/files/{kept['upload']}/content").content == b"content"
            box = (
                f"/v1/sandboxes/{told(http.post('/v1/sandboxes', json={'snapshot': kept['snapshot']}))['id']}"
            )
            listed = told(
                http.post(f"{box}/commands", json={"command": "cat link; stat -c '%a %F' file pipe"})
            )
            assert listed["stdout"] == "saved\n700 regular file\n644 fifo\n"
            assert [one["name"] for one in told(http.get("/v1/sandboxes"))["data"]] == [
                box[len("/v1/sandboxes/") :]
            ]
            assert told(http.get("/v1/audit/verification"))["whole"]
        signed = httpx.get(
            f"{server.url}/v1/keys/self", headers={"Authorization": f"Bearer {kept['token']}"}, timeout=60
        )
        assert signed.status_code == 200, "tokens that were given before count after it"
    again = call(env, "restore", str(file))
    assert (again.returncode, "nothing is overwritten" in again.stderr) == (1, True)


def test_a_file_that_is_no_whole_backup_restores_nothing(command_env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "backup"
    call(command_env, "keys", "create", "ci", "--scope", "models")
    with serving(command_env):
        assert call(command_env, "backup", str(file)).returncode == 0
    other = {**command_env, "LM_SANDBOX_DATA_DIR": str(tmp_path / "other")}
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-200])
    for damaged in (cut, Path("/dev/null"), Path(__file__)):
        done = call(other, "restore", str(damaged))
        assert (done.returncode, "backup" in done.stderr) == (1, True), done.stderr
    left: list[Any] = list((tmp_path / "other").glob("*"))
    assert left == []
