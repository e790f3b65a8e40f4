"""Real engines for the tests, Docker's and Podman's: one for all workers of a run, apart from the host's own."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

IMAGE = "debian:bookworm-slim"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lm-sandbox"
IMAGE_TAR = CACHE / "test-image-bookworm-4.tar"
START_S = 60
# Ends the engine when nobody holds the lock any more, however the workers ended. Its mounts are in a
# namespace of their own and go with it; networks are the host's, and are removed before.
SUPERVISOR = """
exec 9<"$1/users"
unshare --mount --propagation slave dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --host "unix://$1/docker.sock" --config-file "$1/daemon.json" --cgroup-parent "/$2" --bridge none \
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false &
flock --exclusive 9
docker="docker --host unix://$1/docker.sock"
$docker rm --force $($docker ps --all --quiet)
$docker network prune --force
kill $!
wait $!
find /sys/fs/cgroup -depth -type d -path "*/$2*" -exec rmdir {} +
rm -rf "$1"
"""


PODMAN = """
exec 9<"$1/users"
unshare --mount --propagation slave podman --root "$1/root" --runroot "$1/run" --tmpdir "$1/tmp" \
    --cgroup-manager cgroupfs --events-backend file --runtime runc system service --time 0 "unix://$1/docker.sock" &
flock --exclusive 9
kill $!
wait $!
rm -rf "$1"
"""


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Path]:
    """The socket of an engine that has the image, and the runtimes `gvisor` and `unknown`, which is not entered."""
    with _engine("docker", "dockerd", SUPERVISOR) as socket:
        yield socket


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[Path]:
    """The socket of Podman's Docker API, with the same image."""
    with _engine("podman", "podman", PODMAN) as socket:
        yield socket


@contextmanager
def _engine(name: str, program: str, supervisor: str) -> Iterator[Path]:
    if (lacking := _lacking(program)) is not None:
        # Where it can run, a test that does not is a failure and not a gap.
        if os.environ.get("CI") or os.geteuid() == 0:
            pytest.fail(lacking)
        pytest.skip(lacking)
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"lm-sandbox-{name}-{run[:12]}"
    with _used(folder):
        with (folder / "start").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _answers(folder / "docker.sock"):
                _start(folder, supervisor)
        yield folder / "docker.sock"


@pytest.fixture(scope="session")
def proxied_engine(docker_engine: Path) -> Iterator[Path]:
    """A socket on which `lm-sandbox engine-proxy` serves that engine, with the runtime `unknown`."""
    with tempfile.TemporaryDirectory(prefix="lm-sandbox-proxy-") as folder:
        listen = Path(folder) / "engine.sock"
        with engine_proxy(docker_engine, listen, LM_SANDBOX_DOCKER__RUNTIME="unknown"):
            yield listen


@contextmanager
def engine_proxy(engine: Path, listen: Path, **env: str) -> Iterator[None]:
    """Runs the program between a server and an engine."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lm-sandbox"), "engine-proxy", "--listen", str(listen)],
        env={**os.environ, "LM_SANDBOX_DOCKER__SOCKET": str(engine), **env},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert b"is served" in process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=START_S)
        assert process.returncode == 0


def _lacking(program: str) -> str | None:
    if os.geteuid() != 0:
        return "the Docker driver is tested as root only"
    if shutil.which(program) is None or not IMAGE_TAR.exists():
        return f"{program} or the image is missing: run scripts/test-image"
    return None


@contextmanager
def _used(folder: Path) -> Iterator[None]:
    """Keeps the engine from being ended."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "users").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            if _is_still(users, folder / "users"):
                yield
                return


def _is_still(file: IO[str], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def _start(folder: Path, supervisor: str) -> None:
    unknown = folder / "unknown-runtime"
    unknown.symlink_to(shutil.which("runc") or "/usr/sbin/runc")
    runtimes: dict[str, object] = {"unknown": {"path": str(unknown)}}
    if gvisor := shutil.which("runsc"):
        # Where the processor's virtualisation is not at hand, and control groups are of version 1 and 2 at once;
        # Debian's of 2022 takes every network namespace of a kernel this new for the host's.
        arguments = ["--platform=ptrace", "--ignore-cgroups", "--network=none"]
        runtimes["gvisor"] = {"path": gvisor, "runtimeArgs": arguments}
    (folder / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
    with (folder / "log").open("w") as log:
        subprocess.run(
            ["setsid", "--fork", "bash", "-c", supervisor, "supervisor", str(folder), folder.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    deadline = time.monotonic() + START_S
    while not _answers(folder / "docker.sock"):
        if time.monotonic() > deadline:
            pytest.fail("the engine did not come up: " + (folder / "log").read_text()[-2000:])
        time.sleep(0.05)
    repo, _, tag = IMAGE.partition(":")
    with IMAGE_TAR.open("rb") as tar, client(folder / "docker.sock") as http:
        query = {"fromSrc": "-", "repo": repo, "tag": tag}
        http.post("/images/create", params=query, content=tar).raise_for_status()
        # Podman calls it by the name alone.
        if not http.get(f"/images/{IMAGE}/json").is_success:
            http.post(f"/images/{repo}:latest/tag", params={"repo": repo, "tag": tag}).raise_for_status()


def _answers(path: Path) -> bool:
    if not path.is_socket():
        return False
    try:
        with client(path) as http:
            return http.get("/_ping").is_success
    except httpx.TransportError:
        return False


def client(path: Path) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), base_url="http://docker", timeout=START_S
    )
