"""A streamed chat completion through the server, beside the same llama.cpp server asked directly, in one run.

usage: python -m benchmarks.proxying [--rounds N] [--first N] [--tokens N]

Both ways take turns. The client speaks bare HTTP/1.1, so that it does not cost more than what is measured.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.commands import server
from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess, LoadJob

STREAMS = (1, 8, 32)
CONTEXT = 1024
DONE = b"data: [DONE]"


@dataclass(frozen=True)
class Way:
    """Where a request goes."""

    url: str
    key: str
    model: str

    def request(self, tokens: int) -> bytes:
        body = json.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": "Which files are here?"}],
                "stream": True,
                "max_tokens": tokens,
                "ignore_eos": True,
                "temperature": 0,
            }
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(self.url).netloc}\r\nAuthorization: Bearer {self.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Client:
    """A connection for each request, as llama.cpp's server closes it now and then."""

    def __init__(self, way: Way) -> None:
        self._way = way

    async def connect(self) -> None:
        place = urlsplit(self._way.url)
        self._reader, self._writer = await asyncio.open_connection(place.hostname, place.port)

    async def ask(self, tokens: int) -> float:
        """Asks, reads to the end, and returns the seconds to the first event with text."""
        await self.connect()
        started = time.perf_counter()
        self._writer.write(self._way.request(tokens))
        first = 0.0
        tail = b""
        while True:
            piece = await self._reader.read(65536)
            assert piece, "the connection was closed"
            assert not tail or b"HTTP/1.1 4" not in piece, piece
            if not first and b'"content":"' in piece.replace(b" ", b""):
                first = time.perf_counter() - started
            tail = (tail + piece)[-64:]
            if DONE in tail and tail.endswith(b"0\r\n\r\n"):
                self._writer.close()
                return first


async def streams(way: Way, count: int, tokens: int) -> float:
    """Returns tokens a second of so many at once."""
    clients = [Client(way) for _ in range(count)]
    started = time.perf_counter()
    await asyncio.gather(*(client.ask(tokens) for client in clients))
    return count * tokens / (time.perf_counter() - started)


async def measure(rounds: int, firsts: int, tokens: int) -> None:
    path = str(resources.files("lm_sandbox.models.bundled") / "nano.gguf")
    job = LoadJob(path, "nano", CONTEXT * max(STREAMS), max(STREAMS), 1, 0)
    worker = await LlamaCppProcess.start(job, 60)
    try:
        settings = {
            "LM_SANDBOX_ENGINES__BENCH__BASE_URL": worker.address,
            "LM_SANDBOX_ENGINES__BENCH__API_KEY": worker.api_key,
            "LM_SANDBOX_SANDBOX__WARM": "0",
        }
        async with server(settings) as client:
            through = Way(str(client.base_url), client.headers["authorization"].split()[1], "bench/nano")
            direct = Way(worker.address, worker.api_key, "nano")
            report(await first_tokens(direct, through, firsts), await rates(direct, through, rounds, tokens))
    finally:
        await worker.stop()


async def first_tokens(direct: Way, through: Way, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the first text, directly and through the server, one after the other."""
    clients = Client(direct), Client(through)
    times: tuple[list[float], list[float]] = ([], [])
    for client in clients:
        await client.ask(1)
    for _ in range(count):
        for client, taken in zip(clients, times, strict=True):
            taken.append(await client.ask(1) * 1000)
    return times


async def rates(direct: Way, through: Way, rounds: int, tokens: int) -> dict[int, list[tuple[float, float]]]:
    """Tokens a second by the number of streams, directly and through the server."""
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in STREAMS}
    for number in range(rounds + 1):
        for count, pairs in found.items():
            pair = await streams(direct, count, tokens), await streams(through, count, tokens)
            if number:
                pairs.append(pair)
    return found


def report(first: tuple[list[float], list[float]], rates: dict[int, list[tuple[float, float]]]) -> None:
    p50: Callable[[list[float]], float] = statistics.median
    print("| | direct | through | |\n| --- | ---: | ---: | ---: |")
    direct, through = p50(first[0]), p50(first[1])
    print(f"| first token, p50 ms | {direct:.2f} | {through:.2f} | +{through - direct:.2f} ms |")
    for count, pairs in rates.items():
        straight, proxied = p50([a for a, _ in pairs]), p50([b for _, b in pairs])
        ratio = p50([b / a for a, b in pairs])
        print(f"| tokens/s, {count} streams | {straight:.0f} | {proxied:.0f} | {100 * ratio:.1f} % |")
    print(
        f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; nano, {Path('/proc/version').read_text().split()[2]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=256)
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.first, options.tokens))


if __name__ == "__main__":
    main()
