"""`lm-sandbox top` and `serve --profile` on a real server."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from lm_sandbox.cli.readings import Reading, Span, samples_of
from lm_sandbox.cli.top import screen_of, summary_of
from tests.conftest import Server, lm_sandbox, serving

GPU = 'lm_sandbox_gpu_memory_bytes{gpu="0",name="RTX 3060"} 12884901888\nlm_sandbox_gpu_utilization_ratio{gpu="0",name="RTX 3060"} 0.5\n'


def reading(at: float, text: str, *sandboxes: dict[str, Any]) -> Reading:
    return Reading(at, samples_of(text), list(sandboxes))


def test_two_looks_make_rates() -> None:
    text = 'lm_sandbox_requests_total{{method="GET",route="/a",status="200"}} {}\nlm_sandbox_requests_total{{method="GET",route="/b",status="200"}} {}\n'
    span = Span(reading(1.0, text.format(10, 5)), reading(3.0, text.format(20, 25)))
    assert span.rate("lm_sandbox_requests_total") == 15
    assert span.rate("lm_sandbox_requests_total", route="/a") == 5
    assert Span(span.now, reading(4.0, text.format(1, 1))).rate("lm_sandbox_requests_total") == 0


def test_a_quantile_is_that_of_what_is_new() -> None:
    text = 'x_bucket{{le="0.1"}} {}\nx_bucket{{le="1.0"}} {}\nx_bucket{{le="+Inf"}} {}\n'
    span = Span(reading(0, text.format(90, 100, 100)), reading(1, text.format(90, 109, 110)))
    assert span.quantile("x", 0.9) == 1.0
    assert span.quantile("x", 0.99) == float("inf")
    assert Span(span.now, span.now).quantile("x", 0.99) is None


def test_the_screen_shows_sandboxes_by_what_they_take_and_gpus() -> None:
    def box(name: str, cpu: float) -> dict[str, Any]:
        stats = {"cpu_seconds": cpu, "memory_bytes": 5 << 20, "pids": 3, "disk_bytes": None}
        return {
            "id": name,
            "name": name,
            "state": "running",
            "last_active_at": "2026-01-01T12:34:56Z",
            "stats": stats,
        }

    before = reading(0.0, "", box("calm", 1), box("busy", 1))
    span = Span(before, reading(2.0, GPU, box("calm", 1.2), box("busy", 4), box("new[red]", 9)))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(screen_of(span))
    text = console.export_text()
    assert text.index("busy") < text.index("calm")
    assert "new[red]" in text
    assert "1.50" in text
    assert "RTX 3060" in text
    assert "50%" in text
    assert summary_of(span)["gpus"][0]["memory_bytes"] == 12884901888
    assert summary_of(span)["sandboxes"][2]["cpu_cores"] is None


def top(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [lm_sandbox(), "top", "--every", "0.2", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_server_is_seen_at_work(command_env: dict[str, str], server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    made = httpx.post(f"{server.url}/v1/sandboxes", headers=headers, json={"name": "seen"}).json()
    seen = json.loads(top(command_env, "--json").stdout)
    [sandbox] = seen["sandboxes"]
    assert (sandbox["id"], sandbox["name"], sandbox["state"]) == (made["id"], "seen", "running")
    assert sandbox["cpu_cores"] is not None
    assert seen["server"]["requests_per_s"] > 0
    assert seen["server"]["memory_bytes"] > 10 << 20
    assert any(model["name"] == "nano" for model in seen["models"])
    shown = top(command_env, "--once").stdout
    assert "seen" in shown
    assert "1 running" in shown


def test_without_a_server_there_is_nothing_to_see(command_env: dict[str, str]) -> None:
    done = top(command_env, "--once")
    assert done.returncode == 1
    assert "lm-sandbox serve" in done.stderr


def test_a_profile_is_written_when_the_server_ends(command_env: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "profile.html"
    with serving(command_env, "--profile", str(page)) as (process, server):
        assert httpx.get(f"{server.url}/healthz").is_success
        process.terminate()
        process.wait(30)
    assert "run_asgi" in page.read_text() or "healthz" in page.read_text()


def test_a_profile_that_cannot_be_written_is_told_before_anything_is_served(
    command_env: dict[str, str],
) -> None:
    done = subprocess.run(
        [lm_sandbox(), "serve", "--port", "0", "--profile", "/nowhere/at/all.html"], env=command_env,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "profile cannot be written" in done.stderr
