"""The official clients for JavaScript, unchanged, against a real server with the real model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.node import INSTALLED, node

PROGRAMS = Path(__file__).parent / "programs"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="no npm; see scripts/test-mcp")


def told_by(program: str, server: Server) -> dict[str, Any]:
    ran = node(PROGRAMS / program, INSTALLED, server.url, server.key, PROMPT)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def test_openais_client_chats_streams_and_runs_the_shell(shared_server: Server) -> None:
    told = told_by("openai_client.mjs", shared_server)
    assert BOOT_ID in told["whole"]
    assert BOOT_ID in told["streamed"]
    assert told["tokens"] > 0
    assert told["outputs"] == [BOOT_ID + "\n"]
    assert told["kinds"][:2] == ["response.created", "response.in_progress"]
    assert "response.shell_call_output_content.delta" in told["kinds"]
    assert told["kinds"][-1] == "response.completed"
    assert told["items"] == ["user"]
    assert told["refused"] == [404, "model_not_found"]


def test_ollamas_client_lists_shows_and_chats_with_a_shell(shared_server: Server) -> None:
    told = told_by("ollama_client.mjs", shared_server)
    assert {"nano:latest", "nano+bash:latest"} <= set(told["names"])
    assert "tools" in told["capabilities"]
    assert BOOT_ID in told["whole"]
    assert BOOT_ID in told["streamed"]
    assert told["done"] == "stop"
