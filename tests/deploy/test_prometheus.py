"""The rules hold in the real promtool, and a real Prometheus scrapes a real server by them."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from lm_sandbox.config.settings import Settings
from lm_sandbox.telemetry.gpus import READINGS
from tests.conftest import Server

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus"
pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Debian's package prometheus is not installed"
)


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=RULES, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_one() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_the_rules_are_rules_and_do_as_their_tests_say() -> None:
    promtool("check", "rules", "--lint-fatal", "recording.rules.yml", "alerts.rules.yml")
    promtool("test", "rules", "rules.test.yml")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.timeout(180)
def test_a_real_prometheus_scrapes_a_real_server(server: Server, tmp_path: Path) -> None:
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
    [job] = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(tmp_path / "key")
    job["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
    (tmp_path / "key").write_text(server.key)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as prometheus:
            assert asked(prometheus, 'up{job="lm-sandbox"} == 1')
            assert asked(prometheus, 'lm_sandbox_requests_total{route="/metrics"} > 1')
            assert asked(prometheus, 'lm_sandbox_sandboxes{state="running"} == 0')
            assert asked(prometheus, "job:lm_sandbox_requests:rate5m > 0")
            rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
            assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
            assert len(rules) == 2
    finally:
        process.terminate()
        process.wait(30)


def asked(prometheus: httpx.Client, query: str, timeout_s: float = 60) -> bool:
    """Asks until there is an answer."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            answer = prometheus.get("/api/v1/query", params={"query": query})
            if answer.is_success and answer.json()["data"]["result"]:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def named(text: str) -> set[str]:
    names = set(re.findall(r"\blm_sandbox_[a-z_]+", text))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


async def exported(settings: Settings) -> set[str]:
    from lm_sandbox.app import start_services

    async with start_services(settings) as services:
        text = services.metrics.render().decode()
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)) | {
        f"lm_sandbox_gpu_{name}" for name, _, _ in READINGS
    }


@pytest.mark.anyio
async def test_rules_dashboard_and_page_name_metrics_that_there_are(settings: Settings) -> None:
    there = await exported(settings)
    texts = [
        path.read_text()
        for path in (*RULES.glob("*rules.yml"), DEPLOY / "grafana/dashboards/lm-sandbox.json")
    ]
    recorded = {
        part
        for text in texts
        for name in re.findall(r"[a-z_]+:(lm_sandbox_[a-z_]+)", text)
        for part in [name]
    }
    used = {name for text in texts for name in named(text)} - recorded
    assert used <= there, used - there
    page = (DEPLOY.parent / "docs/insight.md").read_text()
    documented = set(re.findall(r"`(lm_sandbox_[a-z_]+)`", page))
    assert {name for name in there if name.startswith("lm_sandbox")} - {
        f"{n}_created" for n in there
    } <= documented | {name for name in there if name.endswith("_created")}
