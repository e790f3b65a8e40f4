"""The drivers that the suites run against, by name."""

from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver

# The second way of the Docker driver is that of every engine whose containers cannot be entered.
RUNTIMES = {"docker": "runc", "docker exec": "unknown", "podman": "runc"}


def build(name: str, request: pytest.FixtureRequest, folder: Path) -> SandboxDriver:
    """Builds a driver; for Docker an engine is started."""
    if name == "bubblewrap":
        return BubblewrapDriver()
    engine: Path = request.getfixturevalue("podman_engine" if name == "podman" else "docker_engine")
    return DockerDriver(DockerSettings(socket=engine, runtime=RUNTIMES[name]), folder / "docker")
