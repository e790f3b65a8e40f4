"""A Docker engine of a test's own, which can be stopped and started, with an image of a few of the host's programs."""

import io
import re
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.docker_engine import START_S, client

IMAGE = "few-programs:1"
PROGRAMS = ("bash", "sh", "cat", "sleep", "seq", "touch", "id", "true")
# Its mounts are in one namespace, however often it is started.
SUPERVISOR = """
while read -r word flags; do
    case $word in
        start) dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
            --host "unix://$1/docker.sock" --config-file "$1/daemon.json" --cgroup-parent "/$2" --bridge none \
            --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false $flags 2>> "$1/log" & ;;
        stop) kill $!; wait $!; echo stopped ;;
    esac
done
kill $! 2>/dev/null
wait
find /sys/fs/cgroup -depth -type d -path "*/$2*" -exec rmdir {} + 2>/dev/null
"""


class OwnEngine:
    """The engine; `start` and `stop` as often as wanted."""

    def __init__(self, folder: Path, supervisor: "subprocess.Popen[str]") -> None:
        self._folder = folder
        self._supervisor = supervisor
        self.socket = folder / "docker.sock"

    def start(self, *flags: str) -> None:
        self._say(f"start {' '.join(flags)}")
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        self._say("stop")
        assert self._supervisor.stdout is not None
        assert self._supervisor.stdout.readline() == "stopped\n"

    def containers(self) -> int:
        with client(self.socket) as http:
            return len(http.get("/containers/json", params={"all": "1"}).json())

    def load_image(self) -> None:
        name, _, tag = IMAGE.partition(":")
        with client(self.socket) as http:
            query = {"fromSrc": "-", "repo": name, "tag": tag}
            http.post("/images/create", params=query, content=few_programs()).raise_for_status()

    def _say(self, text: str) -> None:
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(text + "\n")
        self._supervisor.stdin.flush()

    def _answers(self) -> bool:
        # One that refuses first: httpx leaves such a socket open.
        with socket.socket(socket.AF_UNIX) as tried:
            if tried.connect_ex(str(self.socket)) != 0:
                return False
        try:
            with client(self.socket) as http:
                return http.get("/_ping").is_success
        except httpx.TransportError:
            return False


@contextmanager
def own_engine(folder: Path, *flags: str) -> Iterator[OwnEngine]:
    """Starts one with the image, and ends it."""
    folder.mkdir()
    unknown = folder / "unknown-runtime"
    unknown.symlink_to(shutil.which("runc") or "/usr/sbin/runc")
    (folder / "daemon.json").write_text(f'{{"runtimes": {{"unknown": {{"path": "{unknown}"}}}}}}')
    arguments = ["bash", "-c", SUPERVISOR, "supervisor", str(folder), f"lm-sandbox-test-{folder.name}"]
    try:
        # Whose input ends, ends its engine.
        with subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as supervisor:
            engine = OwnEngine(folder, supervisor)
            engine.start(*flags)
            engine.load_image()
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def few_programs() -> bytes:
    """A root file system with these programs and the libraries that they need."""
    paths = {Path(shutil.which(name) or f"/bin/{name}") for name in PROGRAMS}
    for program in list(paths):
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        paths |= {Path(found) for found in re.findall(r"(/\S+) \(0x", told)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
        for path in sorted(paths):
            # By the short names, under which programs and the loader are looked up.
            tar.add(path, str(path).removeprefix("/usr").removeprefix("/"))
    return packed.getvalue()
