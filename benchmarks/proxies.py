"""One llama.cpp, asked straight, through lm-sandbox and through the LiteLLM proxy, in one run.

usage: python -m benchmarks.proxies [--rounds N] [--streams 1,8,32] [--tokens N] [--model GGUF] [--without-litellm]

The ways take turns, and what a way adds is taken from the straight request of the same round. LiteLLM is
installed by this program into a virtual environment in the user's cache; nothing else here needs it.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.chatting import NANO, Place, client_of, free_port, llama_cpp, load, row
from benchmarks.commands import server
from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess

LITELLM = "litellm[proxy]==1.83.0"
LITELLM_KEY = "sk-a-key-for-the-benchmark"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lm-sandbox"
START_S = 180
PROMPT = "hello, who are you? ({number})"
STRAIGHT, OURS, THEIRS = "straight to llama.cpp", "lm-sandbox", "LiteLLM proxy"


def litellm() -> Path:
    """Installs LiteLLM where it is not yet, and returns its program."""
    folder = CACHE / ("litellm-" + LITELLM.rpartition("==")[2])
    program = folder / "bin/litellm"
    if not program.exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", folder / "bin/python", LITELLM], check=True
        )
    return program


@asynccontextmanager
async def through_litellm(engine: LlamaCppProcess) -> AsyncIterator[Place]:
    """A LiteLLM proxy in front of the engine, with a key as ours wants one."""
    program, port = await asyncio.to_thread(litellm), free_port()
    model = {"model": "openai/bench", "api_base": f"{engine.address}/v1", "api_key": engine.api_key}
    config = {
        "model_list": [{"model_name": "bench", "litellm_params": model}],
        "general_settings": {"master_key": LITELLM_KEY},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML.
        process = await asyncio.create_subprocess_exec(
            str(program), "--config", str(path), "--host", "127.0.0.1", "--port", str(port),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        try:
            async with client_of(f"http://127.0.0.1:{port}", LITELLM_KEY) as client:
                await serving(client)
                yield Place(client, "bench")
        finally:
            process.terminate()
            await process.wait()


async def serving(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                if (await client.get("/health/liveliness")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)


@asynccontextmanager
async def places(model: Path, most: int, *, with_litellm: bool) -> AsyncIterator[Mapping[str, Place]]:
    async with AsyncExitStack() as exits:
        engine = await exits.enter_async_context(llama_cpp(model, most))
        settings = {
            "LM_SANDBOX_ENGINES__BENCH__BASE_URL": engine.address,
            "LM_SANDBOX_ENGINES__BENCH__API_KEY": engine.api_key,
            "LM_SANDBOX_SANDBOX__WARM": "0",
        }
        ours = await exits.enter_async_context(server(settings))
        straight = await exits.enter_async_context(client_of(engine.address, engine.api_key))
        key = ours.headers["authorization"].removeprefix("Bearer ")
        through = await exits.enter_async_context(client_of(str(ours.base_url), key))
        found = {STRAIGHT: Place(straight, "bench"), OURS: Place(through, "bench/bench")}
        if with_litellm:
            found[THEIRS] = await exits.enter_async_context(through_litellm(engine))
        yield found


async def first_tokens(ways: Mapping[str, Place], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 3):
        for name, place in ways.items():
            took = (await place.stream(PROMPT.format(number=number), 8)).first_s
            if number >= 3:
                times[name].append(took)
    print("| first token, one stream | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, found in times.items():
        print(row(name, found))
    for name in list(ways)[1:]:
        pairs = [took - straight for took, straight in zip(times[name], times[STRAIGHT], strict=True)]
        print(row(f"added by {name}, p50 of pairs", pairs))


async def throughput(ways: Mapping[str, Place], at_once: int, rounds: int, tokens: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        prompts = [PROMPT.format(number=f"{number}-{stream}") for stream in range(at_once)]
        for name, place in ways.items():
            rate = await place.streams(prompts, tokens)
            if number:
                rates[name].append(rate)
    for name, found in rates.items():
        shares = [rate / straight for rate, straight in zip(found, rates[STRAIGHT], strict=True)]
        told = f"{statistics.median(found):.0f} | {100 * statistics.median(shares):.1f} %"
        print(f"| {at_once} | {name} | {told} |")


async def measure(options: argparse.Namespace) -> None:
    counts = [int(count) for count in options.streams.split(",")]
    with_litellm = not options.without_litellm
    async with places(options.model, max(counts), with_litellm=with_litellm) as ways:
        await first_tokens(ways, options.rounds)
        print("\n| streams at once | way | tokens/s p50 | of straight, p50 of pairs |")
        print("| ---: | --- | ---: | ---: |")
        for count in counts:
            await throughput(ways, count, max(1, options.rounds // 10), options.tokens)
    print(f"\n{load()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--streams", default="1,8,32")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", type=Path, default=NANO)
    parser.add_argument("--without-litellm", action="store_true")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
