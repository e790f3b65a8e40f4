"""nginx and HAProxy, the real ones, before two server processes that have one database."""

import importlib.util
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect

from tests.conftest import command_environment
from tests.several.processes import KEY, Cluster, Node, told

PROXY = Path(__file__).parents[2] / "deploy/proxy"
COMMANDS = {
    "nginx": ["nginx", "-e", "stderr", "-g", "daemon off;", "-c"],
    "haproxy": ["haproxy", "-db", "-f"],
}
START_S = 60


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy with what is behind it."""

    url: str
    trust: ssl.SSLContext
    nodes: list[Node]

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """Calls it from an address of this host."""
        transport = httpx.HTTPTransport(verify=self.trust, local_address=address)
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(transport=transport, base_url=self.url, headers=headers, timeout=60)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PROXY / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def certificate(folder: Path) -> None:
    """Makes a certificate of 127.0.0.1 for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(private)
    (folder / "both.pem").write_bytes(cert + private)


@contextmanager
def proxying(kind: str, servers: list[str], folder: Path) -> Iterator[str]:
    """Runs a proxy and tells where it is."""
    if shutil.which(kind) is None:
        pytest.fail(f"{kind} is missing: run scripts/system-packages test")
    certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        bind = f"127.0.0.1:{probe.getsockname()[1]}"
    named = {"cert": "cert.pem", "key": "key.pem", "pem": "both.pem", "state": "."}
    places = {name: str(folder / file) for name, file in named.items()}
    text = generator().configuration(kind, servers, {**places, "bind": bind})
    (folder / "conf").write_text(text)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*COMMANDS[kind], str(folder / "conf")], stdout=log, stderr=log)
    try:
        _wait_for(bind, process, folder / "log")
        yield f"https://{bind}"
    finally:
        process.terminate()
        process.wait(START_S)


def _wait_for(bind: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = bind.split(":")
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((host, int(port)), 5).close()
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail("the proxy did not come up: " + log.read_text()[-2000:])
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp(request.param)
    env = {
        **command_environment(folder / "data"),
        "LM_SANDBOX_API_KEY": KEY,
        "LM_SANDBOX_TRUSTED_PROXIES": '["127.0.0.1"]',
        "LM_SANDBOX_LIMITS__ADDRESS_FAILURES_PER_MINUTE": "3",
    }
    with ExitStack() as exits:
        cluster = Cluster(env, exits)
        nodes = [cluster.start(), cluster.start()]
        servers = [node.server.url.removeprefix("http://") for node in nodes]
        url = exits.enter_context(proxying(request.param, servers, folder))
        yield Front(url, ssl.create_default_context(cafile=str(folder / "cert.pem")), nodes)


def make(http: httpx.Client) -> str:
    return f"/v1/sandboxes/{told(http.post('/v1/sandboxes', json={}))['id']}"


def run(http: httpx.Client, box: str, command: str, **more: object) -> dict[str, Any]:
    return told(http.post(f"{box}/commands", json={"command": command, **more}))


def test_a_stream_comes_through_as_it_is_made(front: Front) -> None:
    with front.client() as http, front.client() as other:
        box = make(http)
        script = "echo first; until [ -e go ]; do sleep 0.02; done; echo last"
        with http.stream("POST", f"{box}/commands", json={"command": script, "stream": True}) as answer:
            lines = answer.iter_lines()
            while "first" not in next(lines):
                pass
            run(other, box, "touch go")
            assert any("last" in line for line in lines)


def test_an_upload_comes_through_as_it_is_sent(front: Front) -> None:
    with front.client() as http, front.client() as other:
        box = make(http)

        def pieces() -> Iterator[bytes]:
            yield b"x" * 8_000_000
            # What will be the file grows before all of the body was sent, or this would never end.
            run(other, box, 'until [ "$(find . -type f -size +900k)" ]; do sleep 0.05; done')
            yield b"y" * 13_000_000

        told(http.put(f"{box}/files/workspace/big", content=pieces()))
        assert run(other, box, "wc -c < big")["stdout"] == "21000000\n"


def test_a_terminal_works(front: Front) -> None:
    with front.client() as http:
        box = make(http)
        terminal = told(http.post(f"{box}/terminals", json={"command": ["cat"]}))["id"]
    url = f"{front.url.replace('https', 'wss', 1)}{box}/terminals/{terminal}/ws"
    for _ in front.nodes:
        headers = {"Authorization": f"Bearer {KEY}"}
        with connect(
            url, additional_headers=headers, ssl=front.trust, open_timeout=START_S
        ) as terminal_socket:
            assert json.loads(terminal_socket.recv())["type"] == "attached"
            terminal_socket.send(b"hello\n")
            seen = b""
            while b"hello" not in seen:
                message = terminal_socket.recv(timeout=30)
                seen += message if isinstance(message, bytes) else b""


def test_the_address_of_a_client_is_what_is_counted_and_recorded(front: Front) -> None:
    wrong = {"Authorization": "Bearer a-key-that-nobody-has", "X-Forwarded-For": "127.0.0.9"}
    with front.client("127.0.0.2") as http:
        answers = [http.get("/v1/sandboxes", headers=wrong).status_code for _ in range(12)]
        assert set(answers) == {401, 429}
        assert http.get("/v1/sandboxes").status_code == 429
    with front.client("127.0.0.3") as http:
        assert http.get("/v1/sandboxes").status_code == 200
        records = told(http.get("/v1/audit", params={"kind": "key.refused"}))["data"]
    assert {record["from"] for record in records} == {"127.0.0.2"}


def test_what_is_sent_by_https_is_known_as_that(front: Front) -> None:
    with front.client() as http:
        box = make(http)
        link = told(http.post(f"{box}/port-links", json={"port": 9000}))["url"]
    assert link.startswith(f"{front.url}/v1/port-links/")


def test_a_killed_process_is_not_asked_and_loses_no_command(front: Front) -> None:
    with front.client() as http:
        boxes = [make(http) for _ in range(4)]
        script = "for i in $(seq 1 50); do echo $i; sleep 0.02; done; until [ -e go ]; do sleep 0.02; done"
        commands = [f"{box}/commands/{run(http, box, script, background=True)['id']}" for box in boxes]
        front.nodes[0].kill()
        for box, command in zip(boxes, commands, strict=True):
            while not http.put(f"{box}/files/workspace/go", content=b"").is_success:
                pass  # What the dead process had is being taken over.
            found = _until_answered(http, command)
            assert (found["status"], found["exit_code"]) == ("ended", 0), found
            assert len(found["stdout"].split()) == 50
        # The one that is left takes everything, without a failure in between.
        assert all(http.get("/v1/sandboxes").status_code == 200 for _ in range(50))
        assert run(http, boxes[0], "echo on")["stdout"] == "on\n"


def _until_answered(http: httpx.Client, command: str) -> dict[str, Any]:
    """A request that the dead process had begun may fail; it is asked again, as a client does."""
    deadline = time.monotonic() + START_S
    while True:
        answer = http.get(command, params={"wait_s": 20})
        if answer.is_success and answer.json()["status"] != "running":
            return told(answer)
        assert answer.is_success or answer.status_code in {502, 503, 504}, answer.text
        assert time.monotonic() < deadline, answer.text
