"""A whole run: prompt, command asked for, command run, answer. usage: python -m benchmarks.runs [--rounds N].

Beside it its parts in the same run: the model's turns alone, asked through the server, and the command alone.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx

from benchmarks.commands import server

PROMPT = "cat /proc/sys/kernel/random/boot_id"


async def measure(rounds: int) -> None:
    async with server({"LM_SANDBOX_SANDBOX__WARM": "2"}) as client:
        box = (await client.post("/v1/sandboxes", json={})).json()["id"]
        ways: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
            "run in a sandbox that exists (responses)": lambda: respond(client, box),
            "run in a sandbox of its own (responses)": lambda: respond(client, None),
            "the model's turns alone (chat completions, twice)": lambda: turns(client),
            "the command alone": lambda: command(client, box),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 3):
            for name, ask in ways.items():
                started = time.perf_counter()
                answer = await ask()
                taken = (time.perf_counter() - started) * 1000
                assert answer.is_success, answer.text
                if number >= 3:
                    times[name].append(taken)
    print("| way | min ms | p50 | p95 |\n| --- | ---: | ---: | ---: |")
    for name, found in times.items():
        found.sort()
        p95 = found[int(len(found) * 0.95)]
        print(f"| {name} | {found[0]:.1f} | {statistics.median(found):.1f} | {p95:.1f} |")
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


async def respond(client: httpx.AsyncClient, box: str | None) -> httpx.Response:
    environment = {"type": "container_reference", "container_id": box} if box else {"type": "container_auto"}
    body = {"model": "nano", "input": PROMPT, "tools": [{"type": "shell", "environment": environment}]}
    answer = await client.post("/v1/responses", json=body)
    if box is None:
        made = answer.json()["output"][0]["environment"]["container_id"]
        await client.delete(f"/v1/sandboxes/{made}")
    return answer


async def turns(client: httpx.AsyncClient) -> httpx.Response:
    asked = {"role": "user", "content": PROMPT}
    body = {"model": "nano", "messages": [asked], "temperature": 0, "max_tokens": 30}
    await client.post("/v1/chat/completions", json=body)
    return await client.post("/v1/chat/completions", json=body)


async def command(client: httpx.AsyncClient, box: str) -> httpx.Response:
    return await client.post(f"/v1/sandboxes/{box}/commands", json={"command": PROMPT})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
