"""Several real server processes over one data directory and one database."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lm_sandbox.config.storage import DatabaseSettings
from tests.conftest import Server, serving

KEY = "a-key-for-the-tests-of-several"


@dataclass(slots=True)
class Node:
    """One of the processes.

    Attributes:
        process: The process.
        server: Where it serves.
        http: Calls it, and no other.
    """

    process: subprocess.Popen[str]
    server: Server
    http: httpx.Client

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def make(self, **body: object) -> str:
        """Makes a sandbox and returns its path."""
        return f"/v1/sandboxes/{told(self.http.post('/v1/sandboxes', json=body))['id']}"

    def run(self, sandbox: str, command: str, **more: object) -> dict[str, Any]:
        return told(self.http.post(f"{sandbox}/commands", json={"command": command, **more}))


class Cluster:
    """Starts processes."""

    def __init__(self, env: dict[str, str], exits: ExitStack) -> None:
        self.env = env
        self._exits = exits

    def start(self, **more: str) -> Node:
        process, server = self._exits.enter_context(serving({**self.env, **more}))
        headers = {"Authorization": f"Bearer {KEY}"}
        http = self._exits.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=60))
        return Node(process, server, http)


def told(answer: httpx.Response) -> dict[str, Any]:
    """Returns the body of a good answer."""
    assert answer.is_success, (answer.status_code, answer.text)
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


@pytest.fixture
def cluster(command_env: dict[str, str], database_settings: DatabaseSettings) -> Iterator[Cluster]:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY}
    if database_settings.url is not None:
        env["LM_SANDBOX_DATABASE__URL"] = database_settings.url.get_secret_value()
    with ExitStack() as exits:
        yield Cluster(env, exits)
