"""What a running server keeps comes back from a backup as it was, on either database."""

import asyncio
import io
import json
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from lm_sandbox.audit.opening import audit_folder
from lm_sandbox.audit.verification import verify
from lm_sandbox.cli.backup import back_up, restore
from lm_sandbox.config.settings import Settings
from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.errors import Conflict, Invalid
from lm_sandbox.surfaces.deps import Services
from tests.conftest import command_environment, lm_sandbox, serving
from tests.postgresql import PostgreSqlServer
from tests.several.processes import KEY, Cluster, Node, cluster, told

__all__ = ["cluster"]


def call(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([lm_sandbox(), *arguments], env=env, capture_output=True, text=True, check=False)


def settings_of(env: dict[str, str]) -> Settings:
    url = env.get("LM_SANDBOX_DATABASE__URL")
    database = DatabaseSettings(url=SecretStr(url) if url else None)
    return Settings(data_dir=Path(env["LM_SANDBOX_DATA_DIR"]), database=database)


def fill(node: Node) -> dict[str, str]:
    """Has a server keep one of everything."""
    http = node.http
    key = told(http.post("/v1/keys", json={"name": "ci", "scopes": ["sandboxes", "files"]}))
    own = (key["id"], key["token"])
    box = node.make(name="kept")
    node.run(box, "echo saved > file; ln -s file link; mkfifo pipe; chmod 700 file")
    snapshot = told(http.post(f"{box}/snapshots", json={"name": "before"}))["id"]
    form = {"file": ("a.txt", b"content")}
    upload = told(http.post("/v1/files", files=form, data={"purpose": "user_data"}))["id"]
    token = told(http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=own))
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
    with pytest.raises(Conflict, match="nothing is overwritten"):
        asyncio.run(back_up(settings_of(cluster.env), file, as_json=True))
    with pytest.raises(Conflict, match="A server runs"):
        asyncio.run(restore(settings_of(cluster.env), file, as_json=True))
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
    with pytest.raises(Conflict, match="nothing is overwritten"):
        asyncio.run(restore(settings_of(env), file, as_json=True))


@pytest.mark.anyio
async def test_a_file_that_is_no_whole_backup_restores_nothing(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    del services
    file, cut, other = tmp_path / "backup", tmp_path / "cut", tmp_path / "other"
    await back_up(settings, file, as_json=True)
    cut.write_bytes(file.read_bytes()[:-200])
    for damaged in (cut, Path("/dev/null"), Path(__file__), tmp_path / "none"):
        with pytest.raises(Invalid, match="backup"):
            await restore(settings.model_copy(update={"data_dir": other}), damaged, as_json=True)
        assert not other.exists()


@pytest.mark.anyio
async def test_an_archive_leads_nowhere_out_of_where_it_is_unpacked(
    settings: Settings, tmp_path: Path
) -> None:
    hostile, other = tmp_path / "hostile", tmp_path / "other"
    for names in (["../x"], ["/x"], ["files/a/b", "files/a/b/c"], ["files/uploads/l", "files/uploads/l/d/x"]):
        hostile.unlink(missing_ok=True)
        with tarfile.open(hostile, "w:gz") as tar:
            for name in ("manifest.json", "database.jsonl", *names, "end"):
                member = tarfile.TarInfo(name)
                if name.endswith(("/b", "/l")):
                    member.type, member.linkname = tarfile.SYMTYPE, "/tmp"
                tar.addfile(member, io.BytesIO())
        with pytest.raises(Invalid, match="leads out"):
            await restore(settings.model_copy(update={"data_dir": other}), hostile, as_json=True)
        assert not other.exists()
