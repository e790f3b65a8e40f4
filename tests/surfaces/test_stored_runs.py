"""Runs of `NAME+bash` models are kept, whichever surface they were asked by."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server, command_environment, lm_sandbox

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"
ASKED: dict[str, Any] = {"model": "nano+bash", "messages": [{"role": "user", "content": PROMPT}]}
WAYS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": ASKED,
    "/v1/messages": {**ASKED, "max_tokens": 500},
    "/api/chat": ASKED,
    "/api/generate": {"model": "nano+bash", "prompt": PROMPT},
}
RUN = "x-lm-sandbox-run"


@pytest.fixture
def http(shared_server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {shared_server.key}"}
    with httpx.Client(base_url=shared_server.url, headers=headers, timeout=60) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", WAYS)
def test_a_run_is_kept_with_what_was_asked_and_done(http: httpx.Client, path: str, stream: bool) -> None:
    answer = http.post(path, json={**WAYS[path], "stream": stream})
    assert answer.is_success
    run_id = answer.headers[RUN]
    kept = http.get(f"/v1/responses/{run_id}").json()
    assert (kept["status"], kept["model"], kept["store"]) == ("completed", "nano+bash", True)
    call, output = kept["output"][:2]
    assert call["action"]["commands"] == [PROMPT]
    assert output["output"][0]["stdout"] == BOOT_ID + "\n"
    assert kept["output"][-1]["content"][0]["text"]
    assert kept["usage"]["output_tokens"] > 0
    asked = http.get(f"/v1/responses/{run_id}/input_items").json()["data"]
    assert [(item["role"], item["content"][0]["text"]) for item in asked] == [("user", PROMPT)]
    assert run_id in {run["id"] for run in http.get("/v1/responses?limit=100").json()["data"]}


def test_a_run_of_an_ollama_client_is_exported(shared_server: Server, http: httpx.Client) -> None:
    run_id = http.post("/api/chat", json={**ASKED, "stream": False}).headers[RUN]
    env = command_environment(shared_server.data_dir) | {"LM_SANDBOX_API_KEY": shared_server.key}
    export = subprocess.run(
        [lm_sandbox(), "runs", "export", run_id], capture_output=True, text=True, env=env, check=True
    )
    exported = json.loads(export.stdout)
    assert exported["output"][1]["output"][0]["stdout"] == BOOT_ID + "\n"
    assert exported["input"][0]["content"][0]["text"] == PROMPT


def test_a_run_that_a_stop_sequence_ends_is_kept_as_far_as_it_went(http: httpx.Client) -> None:
    body = {**WAYS["/v1/messages"], "stop_sequences": [BOOT_ID[:8]]}
    answer = http.post("/v1/messages", json=body)
    assert answer.json()["stop_reason"] == "stop_sequence"
    kept = http.get(f"/v1/responses/{answer.headers[RUN]}").json()
    assert kept["status"] == "completed"
    assert kept["output"][1]["output"][0]["stdout"] == BOOT_ID + "\n"
    assert kept["usage"]["output_tokens"] > 0


def test_an_earlier_step_is_kept_as_the_call_that_it_was(http: httpx.Client) -> None:
    said = http.post("/api/chat", json={**ASKED, "stream": False}).json()["message"]
    messages = [*ASKED["messages"], said, {"role": "user", "content": "whoami"}]
    again = http.post("/api/chat", json={**ASKED, "messages": messages, "stream": False})
    items = http.get(f"/v1/responses/{again.headers[RUN]}/input_items?order=asc").json()["data"]
    assert [item["type"] for item in items] == [
        "message", "function_call", "function_call_output", "message", "message",
    ]  # fmt: skip
    assert json.loads(items[1]["arguments"]) == {"command": PROMPT}


@pytest.mark.parametrize("path", ["/v1/messages", "/api/chat", "/v1/chat/completions"])
def test_a_model_without_a_shell_makes_no_run(http: httpx.Client, path: str) -> None:
    body = {**WAYS[path], "model": "nano", "stream": False}
    assert RUN not in http.post(path, json=body).headers
