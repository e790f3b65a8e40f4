"""The drivers that the suites run against, by name."""

from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.inside.launch import Recovery

# The second way of the Docker driver is that of every engine whose containers cannot be entered, and of every
# server that has an engine through `lm-sandbox engine-proxy` only.
RUNTIMES = {
    "docker": ("runc", "docker_engine"),
    "docker exec": ("unknown", "proxied_engine"),
    "podman": ("runc", "podman_engine"),
}


def build(name: str, request: pytest.FixtureRequest, folder: Path, recovery_s: float = 0) -> SandboxDriver:
    """Builds a driver; for Docker an engine is started."""
    engine = None if name == "bubblewrap" else request.getfixturevalue(RUNTIMES[name][1])
    return driver_of(name, folder, engine, recovery_s)


def driver_of(name: str, folder: Path, engine: Path | None, recovery_s: float = 0) -> SandboxDriver:
    """Builds a driver beside an engine that runs."""
    if engine is None:
        recovery = Recovery(folder / "launchers", recovery_s) if recovery_s else None
        return BubblewrapDriver(recovery=recovery)
    settings = DockerSettings(socket=engine, runtime=RUNTIMES[name][0])
    return DockerDriver(settings, folder / "docker", recovery_s=recovery_s)
