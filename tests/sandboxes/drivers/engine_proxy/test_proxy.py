"""The proxy before a real engine. That the whole driver works through it, tests/conformance shows (`docker exec`)."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import Image
from lm_sandbox.sandboxes.drivers.docker.container import container_config
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import OWNER_LABEL
from tests.docker_engine import IMAGE, client


@pytest.fixture
def engine(docker_engine: Path) -> Iterator[httpx.Client]:
    with client(docker_engine) as http:
        yield http


@pytest.fixture
def proxy(proxied_engine: Path) -> Iterator[httpx.Client]:
    with client(proxied_engine) as http:
        yield http


def order(proxy: httpx.Client) -> dict[str, object]:
    image = Image.model_validate_json(proxy.get(f"/images/{IMAGE}/json").content)
    settings = DockerSettings(runtime="unknown")
    return container_config(SandboxId("sb_1"), SandboxSpec(), settings, image=image, run="0" * 16)


@pytest.fixture
def foreign(engine: httpx.Client) -> Iterator[str]:
    """A container of somebody else's."""
    made = engine.post("/containers/create", json={"Image": IMAGE, "Cmd": ["sleep", "60"]}).json()["Id"]
    yield made
    engine.delete(f"/containers/{made}?force=true&v=true")


def test_a_sandbox_is_made_seen_and_removed(proxy: httpx.Client, engine: httpx.Client) -> None:
    made = proxy.post("/containers/create", json=order(proxy))
    assert made.status_code == 201, made.text
    place = f"/containers/{made.json()['Id']}"
    try:
        assert engine.get(f"{place}/json").json()["Config"]["Labels"][OWNER_LABEL] == "lm-sandbox"
        assert proxy.get(f"{place}/json").json()["State"]["Running"] is False
    finally:
        assert proxy.delete(f"{place}?force=true&v=true").status_code == 204
    assert proxy.get(f"{place}/json").status_code == 404


def test_a_privileged_container_is_refused_and_not_made(proxy: httpx.Client, engine: httpx.Client) -> None:
    before = {found["Id"] for found in engine.get("/containers/json?all=true").json()}
    body = order(proxy)
    evil = {**body, "HostConfig": {**body["HostConfig"], "Privileged": True, "Binds": ["/:/host"]}}  # type: ignore[dict-item]
    answer = proxy.post("/containers/create", json=evil)
    assert answer.status_code == 403
    assert "Binds" in answer.json()["message"]
    made = {found["Id"] for found in engine.get("/containers/json?all=true").json()} - before
    assert not any(evil_one(engine, found) for found in made)


def evil_one(engine: httpx.Client, container: str) -> bool:
    answer = engine.get(f"/containers/{container}/json")
    return answer.is_success and bool(answer.json()["HostConfig"]["Privileged"])


EXEC = {
    "User": "1000:1000", "Cmd": ["id"], "Env": [], "WorkingDir": "/",
    "AttachStdin": False, "AttachStdout": True, "AttachStderr": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "asked", ["GET /json", "POST /start", "POST /pause", "DELETE ?force=true&v=true", "POST /exec"]
)
def test_containers_of_others_are_not_there(
    proxy: httpx.Client, engine: httpx.Client, foreign: str, asked: str
) -> None:
    method, what = asked.split()
    answer = proxy.request(method, f"/containers/{foreign}{what}", json=EXEC if what == "/exec" else None)
    assert answer.status_code == 404
    assert engine.get(f"/containers/{foreign}/json").json()["State"]["Status"] == "created"


def test_programs_in_containers_of_others_are_not_there(
    proxy: httpx.Client, engine: httpx.Client, foreign: str
) -> None:
    engine.post(f"/containers/{foreign}/start").raise_for_status()
    program = engine.post(f"/containers/{foreign}/exec", json={"Cmd": ["id"]}).json()["Id"]
    assert proxy.get(f"/exec/{program}/json").status_code == 404
    start = {"Detach": False, "Tty": False}
    assert proxy.post(f"/exec/{program}/start", json=start).status_code == 404
    assert engine.get(f"/exec/{program}/json").json()["ExitCode"] is None, "it was not started"


def test_the_list_has_no_container_of_others(proxy: httpx.Client, foreign: str) -> None:
    filters = json.dumps({"label": [f"{OWNER_LABEL}=lm-sandbox"]})
    found = proxy.get("/containers/json", params={"all": "true", "filters": filters})
    assert found.is_success
    assert foreign not in {container["Id"] for container in found.json()}


def test_of_the_host_only_what_the_driver_reads_is_told(proxy: httpx.Client, engine: httpx.Client) -> None:
    told, all_of_it = proxy.get("/info").json(), engine.get("/info").json()
    assert told.keys() < all_of_it.keys()
    assert not {"Name", "RegistryConfig", "DockerRootDir", "HttpProxy", "Labels"} & told.keys()
    assert told["Runtimes"] == all_of_it["Runtimes"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /info HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET /info\r\n\r\n",
        b"GET /info HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_clear_request_is_refused(proxied_engine: Path, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(str(proxied_engine))
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        head = raw.recv(12)
    # To the last one HTTP/1.1 could be an answer, so it is told what it may not.
    assert head in {b"HTTP/1.1 400", b"HTTP/1.1 403"}


def test_a_second_request_in_the_body_of_the_first_is_never_one(proxied_engine: Path) -> None:
    smuggled = b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(str(proxied_engine))
        raw.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        raw.sendall(smuggled)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := raw.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 403")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_without_end_is_cut_off(proxied_engine: Path) -> None:
    with client(proxied_engine) as http:
        answer = http.post("/containers/create", content=b" " * (2 * 1024 * 1024))
    assert answer.status_code == 413


def test_the_socket_is_its_owners_and_groups(proxied_engine: Path) -> None:
    assert stat.S_IMODE(proxied_engine.stat().st_mode) == 0o660
