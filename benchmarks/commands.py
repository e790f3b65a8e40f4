"""A command in an existing sandbox, beside the floor and the peers, in one run.

usage: python -m benchmarks.commands [--rounds N] [--docker-image IMAGE]

The ways take turns, ten commands each, so that a busy machine is busy for all of them and none is
measured only on what another has left in the caches. `docker exec` is
measured, with our Docker driver beside it, where a Docker engine answers (DOCKER_HOST) and has the image.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.sandboxes.commands import CommandRequest, run_command
from lm_sandbox.sandboxes.driver import SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver

SCRIPT = "echo hi; echo err >&2"
BASH = ("/bin/bash", "-c", SCRIPT)
BWRAP = (
    "bwrap", "--unshare-all", "--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin",
    "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
    "--tmpfs", "/workspace", *BASH,
)  # fmt: skip
BURST = 10
Way = Callable[[], Awaitable[None]]


async def spawned(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out == b"hi\n", out


@asynccontextmanager
async def through(driver: SandboxDriver) -> AsyncIterator[Way]:
    request = CommandRequest(BASH, 10, 1 << 20, 1 << 28)
    box = SandboxId("sb_bench")
    async with driver as started:
        await started.create(box, SandboxSpec())

        async def run() -> None:
            result = await run_command("c", await started.spawn(box, request.spec()), request)
            assert result.stdout == b"hi\n"

        yield run


@asynccontextmanager
async def server(settings: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A real server with a data directory of its own, and a client of it."""
    with tempfile.TemporaryDirectory() as folder:
        key = "a-key-for-the-benchmark"
        env = {**os.environ, "LM_SANDBOX_DATA_DIR": folder, "LM_SANDBOX_API_KEY": key, **settings}
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("lm-sandbox")), "serve", "--port", "0",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=env,
        )  # fmt: skip
        assert process.stdout is not None
        url = (await process.stdout.readline()).split()[3].decode()
        headers = {"Authorization": f"Bearer {key}"}
        try:
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                yield client
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def piped() -> AsyncIterator[Way]:
    """A bash that stays, by bare pipes: no sandbox, and nothing keeps its answers apart."""
    bash = await asyncio.create_subprocess_exec(
        "bash",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert bash.stdin is not None
    assert bash.stdout is not None
    feed, answers = bash.stdin, bash.stdout

    async def run() -> None:
        feed.write(f"{SCRIPT}\necho done\n".encode())
        assert await answers.readuntil(b"done\n") == b"hi\ndone\n"

    yield run
    feed.close()
    await bash.wait()


@asynccontextmanager
async def over_http() -> AsyncIterator[tuple[Way, Way, Way]]:
    async with server({}) as client:
        made = (await client.post("/v1/sandboxes", json={})).json()
        shells = f"/v1/sandboxes/{made['id']}/shells"
        shell = (await client.post(shells, json={})).json()["id"]

        async def in_shell() -> None:
            answer = await client.post(f"{shells}/{shell}/run", json={"command": SCRIPT})
            assert answer.json()["stdout"] == "hi\n"

        async def command() -> None:
            path = f"/v1/sandboxes/{made['id']}/commands"
            answer = await client.post(path, json={"command": SCRIPT})
            assert answer.json()["stdout"] == "hi\n"

        async def health() -> None:
            assert (await client.get("/healthz")).is_success

        yield command, in_shell, health


@asynccontextmanager
async def in_docker(image: str) -> AsyncIterator[Way | None]:
    docker = shutil.which("docker", path="/usr/bin:/usr/local/bin")
    name = f"lm-sandbox-bench-{os.getpid()}"
    started = docker and await _quiet(
        docker, "run", "-d", "--rm", "--network", "none", "--name", name, image, "sleep", "600"
    )
    if not docker or not started:
        yield None
        return
    yield lambda: spawned(docker, "exec", name, *BASH)
    await _quiet(docker, "kill", name)


def docker_socket() -> Path:
    return Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))


async def _quiet(*argv: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


async def measure(rounds: int, image: str) -> None:
    async with AsyncExitStack() as exits:
        driver = await exits.enter_async_context(through(BubblewrapDriver()))
        command, in_shell, health = await exits.enter_async_context(over_http())
        pipe = await exits.enter_async_context(piped())
        ways: dict[str, Way] = {
            "bash -c, no sandbox (asyncio)": lambda: spawned(*BASH),
            "bwrap, a new one each time": lambda: spawned(*BWRAP),
            "lm-sandbox, driver alone": driver,
            "lm-sandbox over HTTP, authenticated": command,
            "bash that stays, bare pipes": pipe,
            "lm-sandbox over HTTP, shell that stays": in_shell,
            "lm-sandbox over HTTP, /healthz only": health,
        }
        docker = await exits.enter_async_context(in_docker(image))
        if docker is not None:
            ways["docker exec"] = docker
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
            own = DockerDriver(DockerSettings(socket=docker_socket()), folder, image)
            ways["lm-sandbox, Docker driver alone"] = await exits.enter_async_context(through(own))
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                for _ in range(BURST):
                    started = time.perf_counter()
                    await way()
                    if number:
                        times[name].append((time.perf_counter() - started) * 1000)
    report(times)


def report(times: dict[str, list[float]]) -> None:
    print("| way | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, taken in times.items():
        cuts = statistics.quantiles(taken, n=20)
        print(f"| {name} | {min(taken):.2f} | {statistics.median(taken):.2f} | {cuts[18]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--docker-image", default="debian:bookworm-slim")
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.docker_image))


if __name__ == "__main__":
    main()
