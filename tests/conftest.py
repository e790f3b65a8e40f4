"""Fixtures that every test may use: real parts, each in a data directory of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import hypothesis
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.access import LimitSettings, PasswordSettings
from lm_sandbox.config.models import UpstreamSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.surfaces.deps import Services
from tests.docker_engine import docker_engine, podman_engine, proxied_engine

__all__ = ["docker_engine", "podman_engine", "proxied_engine"]

# How long an example takes says more about what else this machine does than about the code.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")

KEY = "test-key-with-enough-characters"
# Nothing listens there: no test may depend on an engine that happens to run on the host.
NOWHERE = "http://127.0.0.1:9"
START_S = 60


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        api_key=KEY,
        upstream=UpstreamSettings(ollama_url=NOWHERE, lmstudio_url=NOWHERE),
        # What is refused on purpose is not an attack.
        limits=LimitSettings(address_failures_per_minute=0),
        # What a guess costs is not what most tests are about.
        passwords=PasswordSettings(memory_kib=19_456, rounds=1),
    ).for_one_use()


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with start_services(settings) as started:
        yield started


@pytest.fixture
async def client(settings: Settings, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    app.state.services = services
    async with anyio.create_task_group() as tasks:
        async with httpx.AsyncClient(
            transport=StreamingASGITransport(app, tasks),
            base_url="http://test",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=START_S,
        ) as http:
            yield http
        tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Server:
    """A real `lm-sandbox serve` in a process of its own."""

    url: str
    key: str
    pid: int
    data_dir: Path


@pytest.fixture
def command_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a real command line with a data directory of its own."""
    return command_environment(tmp_path / "data")


def command_environment(data_dir: Path) -> dict[str, str]:
    """The same with this data directory."""
    return {
        **os.environ,
        "LM_SANDBOX_DATA_DIR": str(data_dir),
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": NOWHERE,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": NOWHERE,
        # What is counted in tests must not be what the server makes ahead.
        "LM_SANDBOX_SANDBOX__WARM": "0",
    }


@pytest.fixture
def server(command_env: dict[str, str]) -> Iterator[Server]:
    with serving(command_env) as (_, started):
        yield started


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module, none of which may count on being alone with it."""
    with serving(command_environment(tmp_path_factory.mktemp("shared") / "data")) as (_, started):
        yield started


@contextmanager
def serving(env: dict[str, str], *options: str) -> Iterator[tuple[subprocess.Popen[str], Server]]:
    """Runs a real server, which is stopped at the end unless it was killed before."""
    process = subprocess.Popen(
        [lm_sandbox(), "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    try:
        yield process, _read_announcement(process, Path(env["LM_SANDBOX_DATA_DIR"]))
    finally:
        process.terminate()
        process.communicate(timeout=START_S)


def _read_announcement(process: subprocess.Popen[str], data_dir: Path) -> Server:
    url = key = ""
    assert process.stdout is not None
    for line in process.stdout:
        if "serves on" in line:
            url = line.split()[3]
        elif line.startswith("API key:"):
            key = line.split()[-1]
        elif line.startswith("Stop with"):
            return Server(url, key, process.pid, data_dir)
    raise AssertionError("the server did not come up")


def lm_sandbox() -> str:
    """The command that the package installs."""
    return str(Path(sys.executable).with_name("lm-sandbox"))


async def eventually(condition: object, timeout_s: float = 20.0) -> None:
    """Waits for something that the kernel does in its own time."""
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await anyio.sleep(0.01)
