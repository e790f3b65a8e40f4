"""Images over HTTP and on the command line."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest

from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.conftest import Server, lm_sandbox
from tests.sandboxes.imaged import entry, make_root, needs_images, tar_of

pytestmark = [pytest.mark.anyio, needs_images]
SH = ["/bin/sh", "-c"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "small.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(make_root(tmp_path / "small"), arcname=".")
    return path


def oci_layout(folder: Path, root: Path) -> Path:
    """Makes an image layout of one layer, as a folder."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(root, arcname=".")

    def put(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    kind = "application/vnd.oci.image."
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    inside = {"config": {"Env": ["FROM_IMAGE=yes"]}, **config}
    sent = put(layer.read_bytes()) | {"mediaType": f"{kind}layer.v1.tar"}
    inside["rootfs"] = {"type": "layers", "diff_ids": [sent["digest"]]}
    layer.unlink()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}manifest.v1+json",
        "config": put(json.dumps(inside).encode()) | {"mediaType": f"{kind}config.v1+json"},
        "layers": [sent],
    }
    described = put(json.dumps(manifest).encode()) | {
        "mediaType": f"{kind}manifest.v1+json",
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    }
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


async def test_an_image_is_imported_listed_used_and_removed(client: httpx.AsyncClient, archive: Path) -> None:
    made = await client.put("/v1/images/small", content=archive.read_bytes())
    assert made.status_code == 201, made.text
    assert made.json()["kind"] == "imported"
    assert made.json()["digest"].startswith("sha256:")
    listed = {image["name"]: image for image in (await client.get("/v1/images")).json()["data"]}
    assert listed["small"] == made.json()
    assert listed["host"]["kind"] == "host"
    sandbox = await client.post("/v1/sandboxes", json={"image": "small"})
    assert sandbox.status_code == 201, sandbox.text
    assert sandbox.json()["image"] == "small"
    assert sandbox.json()["enforced"]["user"] == "sandbox, root"
    path = f"/v1/sandboxes/{sandbox.json()['id']}"
    command = {"command": [*SH, "id -un; touch /bin/x && echo wrote"]}
    as_root = (await client.post(f"{path}/commands", json={**command, "user": "root"})).json()
    assert as_root["stdout"] == "root\nwrote\n"
    assert (await client.post(f"{path}/commands", json=command)).json()["stdout"] == "sandbox\n"
    refused = await client.delete("/v1/images/small")
    assert refused.status_code == 409
    snapshot = (await client.post(f"{path}/snapshots", json={})).json()
    assert snapshot["image"] == "small"
    await client.delete(path)
    assert (await client.delete("/v1/images/small")).status_code == 204
    gone = await client.post("/v1/sandboxes", json={"snapshot": snapshot["id"]})
    assert gone.status_code == 422
    assert "there are: host" in gone.json()["detail"]
    assert (await client.delete("/v1/images/small")).json()["code"] == "image_not_found"


async def test_only_an_admin_changes_images(
    client: httpx.AsyncClient, services: Services, archive: Path
) -> None:
    issued = await services.keys.issue("user", frozenset({Scope.SANDBOXES}))
    headers = {"Authorization": f"Bearer {issued.token}"}
    assert (await client.get("/v1/images", headers=headers)).is_success
    sent = await client.put("/v1/images/small", content=archive.read_bytes(), headers=headers)
    assert sent.status_code == 403
    assert (await client.delete("/v1/images/small", headers=headers)).status_code == 403


async def test_bad_images_and_names_are_refused_and_leave_nothing(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    good = tar_of(entry("a"))
    hostile = tar_of(entry("../../evil"))
    for name, content, status in (
        ("evil", hostile, 422), ("none", b"nothing", 422), ("Bad", good, 422), ("new.x", good, 422), ("host", good, 409),
    ):  # fmt: skip
        answer = await client.put(f"/v1/images/{name}", content=content)
        assert answer.status_code == status, answer.text
        assert str(settings.data_dir) not in answer.text
    assert not list((settings.data_dir / "images").iterdir())
    assert (await client.put("/v1/images/ok", content=good)).status_code == 201
    assert (await client.put("/v1/images/ok", content=good)).status_code == 409


async def test_a_sandbox_without_an_image_has_no_root(client: httpx.AsyncClient) -> None:
    sandbox = (await client.post("/v1/sandboxes", json={})).json()
    path = f"/v1/sandboxes/{sandbox['id']}"
    for what, body in (("commands", {"command": "id"}), ("shells", {}), ("terminals", {})):
        refused = await client.post(f"{path}/{what}", json={**body, "user": "root"})
        assert refused.status_code == 409, what
        assert refused.json()["code"] == "unsupported"
    wrong = await client.post(f"{path}/commands", json={"command": "id", "user": "anna"})
    assert wrong.status_code == 422


async def test_shells_and_background_commands_are_roots_where_asked_for(client: httpx.AsyncClient) -> None:
    path = f"/v1/sandboxes/{(await client.post('/v1/sandboxes', json={'image': 'host'})).json()['id']}"
    shell = (await client.post(f"{path}/shells", json={"user": "root"})).json()["id"]
    for command, expected in (("cd /root; id -un", "root\n"), ("exit 3", ""), ("pwd; id -u", "/root\n0\n")):
        ran = (await client.post(f"{path}/shells/{shell}/run", json={"command": command})).json()
        assert ran["stdout"] == expected
    started = await client.post(
        f"{path}/commands", json={"command": "id -un", "user": "root", "background": True}
    )
    ended = (await client.get(f"{path}/commands/{started.json()['id']}", params={"wait_s": 20})).json()
    assert ended["stdout"] == "root\n"


def test_the_command_line_imports_lists_and_removes(
    server: Server, command_env: dict[str, str], tmp_path: Path
) -> None:
    layout = oci_layout(tmp_path / "layout", make_root(tmp_path / "root"))

    def verb(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [lm_sandbox(), *words]
        return subprocess.run(argv, env=command_env, capture_output=True, text=True, timeout=60, check=False)

    for name, source in (("by-folder", str(layout)), ("by-skopeo", f"oci:{layout}:latest")):
        imported = verb("images", "import", name, source, "--json")
        assert imported.returncode == 0, imported.stderr
        assert json.loads(imported.stdout)["name"] == name
    listed = verb("images", "list")
    assert "by-folder" in listed.stdout
    assert "host" in listed.stdout
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=60
    ) as client:
        made = client.post("/v1/sandboxes", json={"image": "by-skopeo"})
        assert made.status_code == 201, made.text
        path = f"/v1/sandboxes/{made.json()['id']}"
        ran = client.post(f"{path}/commands", json={"command": [*SH, "echo $FROM_IMAGE"], "user": "root"})
        assert ran.json()["stdout"] == "yes\n"
        client.delete(path)
    for name in ("by-folder", "by-skopeo"):
        assert verb("images", "remove", name).returncode == 0
    missing = verb("images", "import", "x", str(tmp_path / "nowhere"))
    assert missing.returncode != 0
    assert "no image at" in missing.stderr
