"""How long another model takes: a swap in lm-sandbox, beside a llama.cpp that is started for it.

usage: python -m benchmarks.swapping [--rounds N] [--model GGUF]

Two models of the same file have room for one of them only, so that each request makes the server unload
the one and load the other. All times are to the first token of an answer.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.chatting import CONTEXT, NANO, Place, client_of, llama_cpp, load, row
from benchmarks.commands import server

MIB = 1024 * 1024
PARALLEL = 2
NAMES = ("first", "second")


def settings(folder: str, model: Path, memory_mib: int | None) -> dict[str, str]:
    each = {"source": str(model), "context_tokens": CONTEXT, "parallel": PARALLEL}
    given = {
        "LM_SANDBOX_LLAMACPP__MODELS_DIR": folder,
        "LM_SANDBOX_LLAMACPP__MODELS": json.dumps(dict.fromkeys(NAMES, each)),
        "LM_SANDBOX_SANDBOX__WARM": "0",
    }
    return given | ({"LM_SANDBOX_LLAMACPP__MEMORY_MIB": str(memory_mib)} if memory_mib else {})


async def needed_mib(folder: str, model: Path) -> int:
    """What one of them takes, as the server itself plans it."""
    async with server(settings(folder, model, None)) as client:
        told = (await client.get(f"/v1/engines/llamacpp/models/{NAMES[0]}")).json()
        return int(sum(device["total_bytes"] for device in told["plan"]["devices"]) // MIB) + 1


async def cold(model: Path) -> float:
    started = time.perf_counter()
    async with llama_cpp(model, PARALLEL) as engine, client_of(engine.address, engine.api_key) as client:
        loaded_s = time.perf_counter() - started
        return loaded_s + (await Place(client, "bench").stream("hello", 4)).first_s


async def measure(rounds: int, model: Path) -> None:
    times: dict[str, list[float]] = {
        "swap in lm-sandbox": [],
        "llama.cpp started for it": [],
        "loaded already": [],
    }
    with TemporaryDirectory() as folder:
        room = await needed_mib(folder, model) * 3 // 2
        async with server(settings(folder, model, room)) as client:
            await Place(client, NAMES[1]).stream("hello", 4)
            for number in range(rounds):
                place = Place(client, NAMES[number % 2])
                times["swap in lm-sandbox"].append((await place.stream("hello", 4)).first_s)
                times["loaded already"].append((await place.stream("hello", 4)).first_s)
                times["llama.cpp started for it"].append(await cold(model))
    print("| to the first token | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, found in times.items():
        print(row(name, found))
    print(f"\n{load()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model", type=Path, default=NANO)
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.model))


if __name__ == "__main__":
    main()
