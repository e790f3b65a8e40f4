"""Servers over one data directory that are killed, one after the other."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.conftest import Server, serving

KEY = "a-key-for-the-tests-of-recovery"


class Servers:
    """Servers over one data directory, one after the other."""

    def __init__(self, env: dict[str, str], exits: ExitStack) -> None:
        self._env = env
        self._exits = exits
        self._process: subprocess.Popen[str] | None = None
        self.server: Server

    def start(self) -> httpx.Client:
        self._process, self.server = self._exits.enter_context(serving(self._env))
        headers = {"Authorization": f"Bearer {KEY}"}
        client = httpx.Client(base_url=self.server.url, headers=headers, timeout=40)
        return self._exits.enter_context(client)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def follow(self) -> httpx.Client:
        self.kill()
        return self.start()


@pytest.fixture
def servers(command_env: dict[str, str]) -> Iterator[Servers]:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY}
    with ExitStack() as exits:
        yield Servers(env, exits)


def make(client: httpx.Client, **body: object) -> str:
    answer = client.post("/v1/sandboxes", json=body)
    assert answer.status_code == 201, answer.text
    return f"/v1/sandboxes/{answer.json()['id']}"


def run(client: httpx.Client, sandbox: str, command: str, **more: object) -> dict[str, Any]:
    answer = client.post(f"{sandbox}/commands", json={"command": command, **more})
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: httpx.Client, command: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(command, params={"wait_s": 30}).json()
    assert found["status"] != "running"
    return found
