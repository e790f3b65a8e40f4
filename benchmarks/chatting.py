"""Streams of chat completions, from outside: how long the first token takes, and how many come in a second."""

import asyncio
import json
import os
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess, LoadJob

NANO = Path(__file__).parents[1] / "src/lm_sandbox/models/bundled/nano.gguf"
CONTEXT = 1024
LOAD_S = 120


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: seconds to its first text, seconds in all, and its tokens as the engine counts them."""

    first_s: float
    whole_s: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model can be asked: the client of a server, and what that calls the model."""

    client: httpx.AsyncClient
    model: str

    async def stream(self, prompt: str, max_tokens: int) -> Streamed:
        """Asks, and reads the answer to its end."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started = time.perf_counter()
        first_s, tokens = 0.0, 0
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.is_success, await answer.aread()
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[5:])
                tokens = (chunk.get("usage") or {}).get("completion_tokens") or tokens
                said = [choice["delta"].get("content") for choice in chunk.get("choices", ())]
                if not first_s and any(said):
                    first_s = time.perf_counter() - started
        assert first_s
        return Streamed(first_s, time.perf_counter() - started, tokens)

    async def streams(self, prompts: Sequence[str], max_tokens: int) -> float:
        """Asks all at once; returns tokens a second, all together."""
        started = time.perf_counter()
        told = await asyncio.gather(*(self.stream(prompt, max_tokens) for prompt in prompts))
        return sum(answer.tokens for answer in told) / (time.perf_counter() - started)


def job(model: Path, parallel: int) -> LoadJob:
    """What a llama.cpp loads, as lm-sandbox would."""
    threads = max(1, (os.cpu_count() or 2) // 2)
    return LoadJob(str(model), "bench", CONTEXT * parallel, parallel, threads, -1)


@asynccontextmanager
async def llama_cpp(model: Path, parallel: int) -> AsyncIterator[LlamaCppProcess]:
    """A llama.cpp server that belongs to nobody but the benchmark."""
    engine = await LlamaCppProcess.start(job(model, parallel), LOAD_S)
    try:
        yield engine
    finally:
        await engine.stop()


def client_of(base_url: str, key: str) -> httpx.AsyncClient:
    """A client that keeps as many connections as it may need."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=base_url, headers=headers, timeout=300, limits=limits, trust_env=False)


def free_port() -> int:
    """A port that is free now, for servers that cannot say which one they took."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def row(name: str, times_s: Sequence[float]) -> str:
    """A line of a table: least, median and 95th of a hundred, in milliseconds."""
    found = sorted(1000 * t for t in times_s)
    return (
        f"| {name} | {found[0]:.1f} | {statistics.median(found):.1f} | {found[int(len(found) * 0.95)]:.1f} |"
    )


def load() -> str:
    """How busy the machine is."""
    return f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
