"""Files up and down over HTTP, beside `cp` and `dd` on a tmpfs of the same machine, in one run.

usage: python -m benchmarks.files [--rounds N] [--mib N]

The ways take turns, round by round, so that a busy machine is busy for all of them. `server CPU` is the
time that the server's own process was on a core, which tells what one core could move.
"""

import argparse
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

MIB = 1 << 20
SHM = Path("/dev/shm")  # noqa: S108 - a tmpfs, as a sandbox's disk is
KEY = "a-key-for-the-benchmark"
TICKS = os.sysconf("SC_CLK_TCK")
SMALL_ROUNDS = 50


@dataclass
class Server:
    """A real `lm-sandbox serve` with one sandbox."""

    pid: int
    connection: http.client.HTTPConnection
    box: str = ""

    def ask(self, method: str, path: str, body: bytes | IO[bytes] | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Length": str(_length(body))}
        self.connection.request(method, self.box + path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status < 300, content[:500]
        return content

    def fetch(self, path: str) -> int:
        self.connection.request("GET", self.box + path, headers={"Authorization": f"Bearer {KEY}"})
        answer = self.connection.getresponse()
        buffer, total = memoryview(bytearray(4 * MIB)), 0
        while taken := answer.readinto(buffer):
            total += taken
        return total

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass
class Taken:
    """What the rounds of one way took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def _length(body: bytes | IO[bytes] | None) -> int:
    if body is None:
        return 0
    return len(body) if isinstance(body, bytes) else os.fstat(body.fileno()).st_size


@contextmanager
def served(mib: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "LM_SANDBOX_DATA_DIR": folder,
            "LM_SANDBOX_API_KEY": KEY,
            "LM_SANDBOX_SANDBOX__DISK_MIB": str(3 * mib),
        }
        command = [str(Path(sys.executable).with_name("lm-sandbox")), "serve", "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert process.stdout is not None
        host, port = process.stdout.readline().split()[3].removeprefix("http://").split(":")
        server = Server(process.pid, http.client.HTTPConnection(host, int(port), blocksize=MIB))
        made = server.ask("POST", "/v1/sandboxes", b"{}")
        server.box = f"/v1/sandboxes/{json.loads(made)['id']}"
        try:
            yield server
        finally:
            process.terminate()
            process.wait()


def measure(rounds: int, mib: int) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as folder, served(mib) as server:
        source, target = Path(folder) / "source", Path(folder) / "target"
        source.write_bytes(os.urandom(MIB) * mib)
        archive = Path(folder) / "source.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(source, "a")
        ways = large_ways(server, source, target, archive)
        taken = {name: Taken() for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                # A busy machine may take longer between two requests than the server keeps a connection.
                server.connection.close()
                started, cpu = time.perf_counter(), server.cpu_seconds()
                way()
                if number:
                    taken[name].wall.append(time.perf_counter() - started)
                    taken[name].cpu.append(server.cpu_seconds() - cpu)
                target.unlink(missing_ok=True)
        report_large(taken, mib)
        report_small(server)


def large_ways(server: Server, source: Path, target: Path, archive: Path) -> dict[str, Callable[[], object]]:
    def upload(path: str, file: Path) -> None:
        with file.open("rb") as body:
            server.ask("PUT", path, body)

    return {
        "cp": lambda: subprocess.run(["cp", source, target], check=True),
        "dd bs=1M": lambda: subprocess.run(
            ["dd", f"if={source}", f"of={target}", "bs=1M", "status=none"], check=True
        ),
        "upload (PUT)": lambda: upload("/files/workspace/a", source),
        "download (GET)": lambda: server.fetch("/files/workspace/a"),
        "copy inside (PATCH)": lambda: server.ask(
            "PATCH", "/files/workspace/a", b'{"action": "copy", "to": "/tmp/b", "overwrite": true}'
        ),
        "delete (DELETE)": lambda: server.ask("DELETE", "/files/tmp/b"),
        "archive down": lambda: server.fetch("/archive?path=/workspace"),
        "archive up": lambda: upload("/archive?path=/workspace", archive),
        "tar -c | tar -x, no sandbox": lambda: subprocess.run(  # noqa: S602 - fixed words
            f"mkdir {target}.d; tar -C {source.parent} -c source | tar -C {target}.d -x; rm -r {target}.d",
            shell=True,
            check=True,
        ),
    }


def report_large(taken: dict[str, Taken], mib: int) -> None:
    print(f"| {mib} MiB | best GB/s | median GB/s | of cp's best | server CPU s/GB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    size = mib * MIB / 1e9
    floor = min(taken["cp"].wall)
    for name, times in taken.items():
        if name.startswith("delete"):
            continue
        best, middle = min(times.wall), statistics.median(times.wall)
        cpu = statistics.median(times.cpu) / size
        print(f"| {name} | {size / best:.2f} | {size / middle:.2f} | {floor / best:.2f} | {cpu:.2f} |")


def report_small(server: Server) -> None:
    server.ask("PUT", "/files/workspace/small", b"x" * 1024)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    ways: dict[str, Callable[[], object]] = {
        "stat of /": lambda: server.ask("GET", "/files/?stat"),
        "stat": lambda: server.ask("GET", "/files/workspace/small?stat"),
        "read 1 KiB": lambda: server.ask("GET", "/files/workspace/small"),
        "write 1 KiB": lambda: server.ask("PUT", "/files/workspace/small", b"x" * 1024),
        "list a folder": lambda: server.ask("GET", "/files/workspace?list"),
        "search for lines": lambda: server.ask(
            "POST", "/files/search", b'{"pattern": "y", "path": "/workspace/small"}'
        ),
        "archive of one file up": lambda: server.ask("PUT", "/archive?path=/tmp", packed.getvalue()),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(SMALL_ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append((time.perf_counter() - started) * 1000)
    print("\n| one request over HTTP | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, times in taken.items():
        cuts = statistics.quantiles(times, n=20)
        print(f"| {name} | {min(times):.2f} | {statistics.median(times):.2f} | {cuts[18]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=512)
    options = parser.parse_args()
    measure(options.rounds, options.mib)


if __name__ == "__main__":
    main()
