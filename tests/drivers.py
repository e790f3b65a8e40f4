"""The drivers that the suites run against, by name."""

from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver

# The second way of the Docker driver is that of every engine whose containers cannot be entered, and of every
# server that has an engine through `lm-sandbox engine-proxy` only.
RUNTIMES = {
    "docker": ("runc", "docker_engine"),
    "docker exec": ("unknown", "proxied_engine"),
    "podman": ("runc", "podman_engine"),
}


def build(name: str, request: pytest.FixtureRequest, folder: Path) -> SandboxDriver:
    """Builds a driver; for Docker an engine is started."""
    if name == "bubblewrap":
        return BubblewrapDriver()
    runtime, way = RUNTIMES[name]
    engine: Path = request.getfixturevalue(way)
    return DockerDriver(DockerSettings(socket=engine, runtime=runtime), folder / "docker")
