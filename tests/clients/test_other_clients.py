"""Other people's clients, unchanged, against a real server: agents, routers, frameworks."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"
LIMIT_S = 120

Program = Callable[..., Any]


@pytest.fixture(scope="module")
def clients() -> Path:
    """The environment that they are in."""
    made = subprocess.run([ROOT / "scripts/test-clients"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


@pytest.fixture
def program(clients: Path, shared_server: Server) -> Program:
    def run(name: str, *arguments: str) -> Any:  # noqa: ANN401 - whatever it prints
        done = subprocess.run(
            [
                clients / "bin/python",
                PROGRAMS / f"{name}.py",
                shared_server.url,
                shared_server.key,
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_openai_agents_run_their_shell_in_a_container_of_ours(program: Program) -> None:
    told = program("agents_shell", "nano", PROMPT, '{"type": "container_auto"}')
    assert told["outputs"] == [BOOT_ID + "\n"]
    assert told["answer"]


def test_openai_agents_run_their_shell_in_a_container_that_exists(
    program: Program, shared_server: Server
) -> None:
    with httpx.Client(
        base_url=shared_server.url, headers={"Authorization": f"Bearer {shared_server.key}"}
    ) as http:
        made = http.post("/v1/containers", json={"name": "for agents"}).json()["id"]
        http.post(f"/v1/sandboxes/{made}/commands", json={"command": "echo there > here.txt"})
    environment = json.dumps({"type": "container_reference", "container_id": made})
    assert program("agents_shell", "nano", "cat here.txt", environment)["outputs"] == ["there\n"]


def test_openai_agents_run_their_shell_on_their_own_side(program: Program) -> None:
    assert "zanzibar" in program("agents_shell", "nano", "whoami", '{"type": "local"}')["answer"]


def test_litellm_chats_with_a_model_that_has_a_shell(program: Program) -> None:
    told = program("litellm_chat", "nano+bash", PROMPT)
    assert BOOT_ID in told["whole"]
    assert BOOT_ID in told["streamed"]


def test_pydantic_ai_chats_and_takes_responses(program: Program) -> None:
    told = program("pydantic_ai_chat", "nano", PROMPT)
    assert BOOT_ID in told["chat"]
    assert told["responses"]
