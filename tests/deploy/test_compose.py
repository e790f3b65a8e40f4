"""The stack in a real engine: what can be built here runs; the rest is rendered and held to its schema."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.stack import COMPOSE, PROJECT, ROOT, Stack, build_images, docker, environment, start

PROFILES = ("cpu", "gpu", "sandbox", "monitoring", "logging", "proxy")
OURS = ("server", "engine-proxy", "lm_container")
# Building is most of it.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def images(docker_engine: Path) -> Path:
    build_images(docker_engine)
    return docker_engine


@pytest.fixture(scope="module")
def stack(docker_engine: Path) -> Stack:
    return start(docker_engine)


def inspected(stack: Stack, service: str) -> dict[str, Any]:
    [found] = json.loads(stack.docker("inspect", stack.container(service)))
    return found  # type: ignore[no-any-return]


def bash(stack: Stack, command: str) -> dict[str, Any]:
    with stack.client() as http:
        answer = http.post("/run-bash/", json={"cmd": command})
    assert answer.is_success, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_the_servers_image_is_small_and_has_no_compiler_and_no_pip(images: Path) -> None:
    size, base = (
        int(docker(images, "image", "inspect", "--format", "{{.Size}}", name))
        for name in ("lm-sandbox:test", "debian:bookworm-slim")
    )
    assert size - base < 250 * 1000 * 1000
    found = docker(
        images, "run", "--rm", "--network", "none", "--entrypoint", "/bin/bash", "lm-sandbox:test", "-c",
        "type -t gcc cc make pip pip3; ls /opt/lm-sandbox/bin; ls /opt/lm-sandbox/lib/python3*/site-packages; true",
    ).split()  # fmt: skip
    assert "lm-sandbox" in found
    assert not {"file", "pip", "hatchling", "editables"} & set(found)


def test_images_tell_what_they_are_and_hold_nothing_of_who_built_them(images: Path) -> None:
    for name in ("lm-sandbox:test", "lm-docker:test"):
        [image] = json.loads(docker(images, "image", "inspect", name))
        assert image["Config"]["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
        assert image["Config"]["User"] in {"10001:10001", "1000:1000"}
        history = docker(images, "history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
        assert "index-url" not in history
        kept = docker(
            images, "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", name, "-c",
            "cat /etc/pip.conf /run/secrets/* 2>/dev/null; true",
        )  # fmt: skip
        assert kept == ""


def test_the_image_of_sandboxes_has_what_a_model_reaches_for(images: Path) -> None:
    told = docker(
        images, "run", "--rm", "--network", "none", "lm-docker:test", "bash", "-ec",
        "id -un; for tool in bash git curl python3 ls jq; do type -P $tool; done",
    )  # fmt: skip
    assert told.splitlines()[0] == "sandbox"
    assert len(told.splitlines()) == 7


def test_what_was_started_is_healthy(stack: Stack) -> None:
    for service in ("server", "engine-proxy"):
        assert inspected(stack, service)["State"]["Health"]["Status"] == "healthy"
    assert inspected(stack, "lm_container")["State"]["Running"]


@pytest.mark.parametrize("service", OURS)
def test_a_container_is_not_root_read_only_and_without_capabilities(stack: Stack, service: str) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in stack.docker("exec", stack.container(service), "cat", "/proc/1/status").splitlines()
    )
    assert status["Uid"].split()[0] != "0"
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    host = inspected(stack, service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0


def test_only_the_engine_proxy_has_the_engines_socket_and_it_has_no_network(stack: Stack) -> None:
    holders = [
        service for service in OURS
        if any(mount["Source"] == str(stack.engine) for mount in inspected(stack, service)["Mounts"])
    ]  # fmt: skip
    assert holders == ["engine-proxy"]
    assert inspected(stack, "engine-proxy")["HostConfig"]["NetworkMode"] == "none"
    assert not inspected(stack, "server")["HostConfig"]["GroupAdd"]


def test_a_model_runs_bash_in_a_container_of_the_engine(stack: Stack) -> None:
    with stack.client() as http:
        body = {"model": "nano+bash", "messages": [{"role": "user", "content": "Which Linux is this?"}]}
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.is_success, answer.text
    assert "Debian GNU/Linux" in answer.json()["choices"][0]["message"]["content"]


def test_another_container_of_the_network_uses_the_server_by_its_name(stack: Stack) -> None:
    told = stack.docker(
        "run", "--rm", "--network", f"{PROJECT}_front", "--entrypoint", "curl", "lm-docker:test",
        "-fsS", "--retry", "3", "http://server:8000/readyz",
    )  # fmt: skip
    assert json.loads(told)["status"] == "ok"


def test_a_sandbox_reaches_neither_server_nor_proxy_nor_metadata(stack: Stack) -> None:
    networks = inspected(stack, "server")["NetworkSettings"]["Networks"].values()
    addresses = [place for network in networks for place in (network["IPAddress"], network["Gateway"])]
    places = [*(f"http://{address}:8000/healthz" for address in addresses), "http://server:8000/healthz",
              "http://169.254.169.254/latest/meta-data/"]  # fmt: skip
    assert len(places) >= 6
    asked = "; ".join(f"curl -sS -m 2 {place} && echo REACHED" for place in places)
    told = bash(
        stack, f"{asked}; ls -A /run/lm-sandbox /run/docker.sock /var/run/docker.sock; cat /proc/net/route"
    )
    assert "REACHED" not in told["output"]
    assert "healthz" not in told["output"]
    assert told["error"].count("curl: (") == len(places)
    assert told["error"].count("No such file") == 3
    assert len(told["output"].splitlines()) <= 1, "there is no route"


def test_the_container_to_look_around_in_reaches_nothing_either(stack: Stack) -> None:
    told = stack.docker("exec", stack.container("lm_container"), "cat", "/proc/net/dev")
    assert [line.split(":")[0].strip() for line in told.splitlines()[2:]] == ["lo"]


def test_a_server_that_was_taken_over_gets_no_privileged_container(stack: Stack) -> None:
    program = (
        "import httpx; c = httpx.Client(transport=httpx.HTTPTransport(uds='/run/lm-sandbox/engine.sock'),"
        " base_url='http://e');"
        "b = {'Image': 'lm-docker:test', 'HostConfig': {'Privileged': True, 'Binds': ['/:/host']}};"
        "print(c.post('/containers/create', json=b).status_code, c.get('/containers/json').status_code,"
        " c.post('/build').status_code, c.get('/_ping').status_code)"
    )
    python = "/opt/lm-sandbox/bin/python"
    told = stack.docker("exec", stack.container("server"), python, "-c", program)
    assert told == "403 403 403 200"


def test_prometheus_gets_a_key_from_the_server_that_reads_metrics_and_nothing_else(stack: Stack) -> None:
    made = stack.docker(
        "exec",
        stack.container("server"),
        "lm-sandbox",
        "keys",
        "create",
        f"p{os.getpid()}",
        "--scope",
        "metrics",
    )
    with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {made}"}, timeout=60) as http:
        assert "lm_sandbox_sandboxes" in http.get("/metrics").text
        assert http.get("/v1/sandboxes").status_code == 403


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    secrets = tmp_path_factory.mktemp("secrets")
    found = {}
    for profile in PROFILES:
        done = subprocess.run(
            ["docker-compose", "--file", COMPOSE, "--profile", profile, "config"],
            env=environment(Path("/nowhere")) | {"SECRETS": str(secrets)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[profile] = yaml.safe_load(done.stdout)["services"]
    return found


def in_profile(rendered: dict[str, dict[str, Any]], profile: str) -> dict[str, Any]:
    return {name: one for name, one in rendered[profile].items() if profile in one["profiles"]}


def test_every_profile_has_the_services_that_it_is_for(rendered: dict[str, dict[str, Any]]) -> None:
    wanted = {
        "cpu": {"server", "engine-proxy", "ollama", "llama-server"},
        "gpu": {"server-gpu", "engine-proxy", "ollama-gpu", "llama-server-gpu", "dcgm-exporter"},
        "sandbox": {"engine-proxy", "lm_container"},
        "monitoring": {"prometheus", "grafana", "cadvisor"},
        "logging": {"elasticsearch", "filebeat", "kibana"},
        "proxy": {"proxy"},
    }
    assert {profile: set(in_profile(rendered, profile)) for profile in PROFILES} == wanted


def test_gpus_are_reserved_by_number_and_by_id(rendered: dict[str, dict[str, Any]]) -> None:
    devices = {
        name: one["deploy"]["resources"]["reservations"]["devices"]
        for name, one in in_profile(rendered, "gpu").items()
        if "deploy" in one
    }
    every = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert devices == {
        "server-gpu": every,
        "ollama-gpu": every,
        "dcgm-exporter": every,
        "llama-server-gpu": [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}],
    }


def test_nothing_listens_beyond_this_machine_but_the_tls_proxy(rendered: dict[str, dict[str, Any]]) -> None:
    for profile in PROFILES:
        for name, service in in_profile(rendered, profile).items():
            for port in service.get("ports", []):
                assert str(port).startswith("127.0.0.1:") or name == "proxy", (name, port)


def test_no_service_has_a_secret_in_its_environment(rendered: dict[str, dict[str, Any]]) -> None:
    for profile in PROFILES:
        for service in in_profile(rendered, profile).values():
            for name, value in (service.get("environment") or {}).items():
                assert not any(word in name for word in ("KEY", "PASSWORD", "TOKEN")) or str(
                    value
                ).startswith("/run/secrets/")


def test_no_image_is_of_whatever_version(rendered: dict[str, dict[str, Any]]) -> None:
    for profile in PROFILES:
        for name, service in in_profile(rendered, profile).items():
            image, _, tag = service["image"].rpartition(":")
            assert image, name
            assert tag != "latest" or "lm-" in image


def test_the_file_is_one_of_the_compose_specification() -> None:
    done = subprocess.run(
        [ROOT / ".venv/bin/check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
