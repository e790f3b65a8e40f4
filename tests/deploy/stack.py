"""The images and the compose stack, really built and started in the tests' own Docker engine."""

import fcntl
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose/compose.yaml"
KEY = "a-key-for-the-compose-stack"
PROJECT = "lmtest"
BUILD_S = 1500
UP_S = 300
# What has to be pulled is left out.
UP_ARGS = "--no-build server lm_container"
# Debian's own, which builds with BuildKit.
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else shutil.which("docker") or "docker"


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack that runs in an engine.

    Attributes:
        engine: The engine's socket.
        url: Where its server is.
        start_s: How long it took from nothing to health, where this process started it.
    """

    engine: Path
    url: str
    start_s: float | None

    def docker(self, *arguments: str) -> str:
        return docker(self.engine, *arguments)

    def container(self, service: str) -> str:
        return "lmtest_lm_container" if service == "lm_container" else f"{PROJECT}_{service}_1"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=120)


def environment(engine: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DOCKER_HOST": f"unix://{engine}",
        "DOCKER": DOCKER,
        "PATH": f"{Path(DOCKER).parent}:{os.environ['PATH']}",
    }


def docker(engine: Path, *arguments: str) -> str:
    done = subprocess.run(
        [DOCKER, *arguments],
        env=environment(engine),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def build_images(engine: Path) -> None:
    """Builds what an engine does not have yet; one worker of a run does it for all."""
    with (engine.parent / "build").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if docker(engine, "images", "--quiet", "lm-docker:test"):
            return
        env = environment(engine) | {"TAG": "test", "BUILD_ARGS": "--network=host"}
        done = subprocess.run(
            [ROOT / "scripts/build-images", "server", "lm-docker"],
            env=env, capture_output=True, text=True, check=False, timeout=BUILD_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]


def start(engine: Path) -> Stack:
    """Starts the stack by `scripts/compose`, unless it runs; the engine's end is its end."""
    build_images(engine)
    folder = engine.parent / "compose"
    with (engine.parent / "up").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (told := folder / "url").exists():
            return Stack(engine, told.read_text(), None)
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "api_key").write_text(KEY)
        (folder / "api_key").chmod(0o444)
        url, began = f"http://127.0.0.1:{(port := free_port())}", time.monotonic()
        done = subprocess.run(
            [ROOT / "scripts/compose", "up", "cpu", "sandbox"],
            env=environment(engine) | {
                "COMPOSE_PROJECT_NAME": PROJECT, "TAG": "test",
                "LM_CONTAINER": "lmtest_lm_container", "SECRETS": str(folder), "DOCKER_SOCKET": str(engine),
                "PORT": str(port), "UP_ARGS": UP_ARGS, **subnet(),
            },
            capture_output=True, text=True, check=False, timeout=UP_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        taken = time.monotonic() - began
        told.write_text(url)
        return Stack(engine, url, taken)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def subnet() -> dict[str, str]:
    """A network of this run's own."""
    third = os.getpid() % 250
    return {"PROXY_SUBNET": f"172.29.{third}.0/24", "PROXY_ADDRESS": f"172.29.{third}.250"}
