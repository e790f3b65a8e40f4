"""The worker process of one loaded model, seen from the server."""

import json
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.errors import ModelFailed

WORKER = Path(__file__).with_name("llamacpp_worker.py")
# What llama.cpp and its GPU back ends read; nothing else of the server's environment is handed on.
PASSED_ON = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # fmt: skip  # noqa: E501
ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What a worker is to load.

    Attributes:
        path: The model's file.
        alias: The name it answers to.
        context: Tokens over all slots.
        parallel: Slots.
        threads: For computing.
        gpu_layers: -1 lets llama.cpp decide.
        tensor_split: Layers by GPU, in the order of `gpus`.
        gpus: The ids of the GPUs that the worker sees; None for those that the server sees.
        kv_type: Of the cache.
        prompt_cache_mib: Host memory for earlier prompts.
        purpose: `chat`, `embedding` or `rerank`.
        pooling: Whether the model's file says how it makes one embedding of many.
        lora: Adapters.
        mmproj: A projector for images, or an empty string.
        draft: A model that guesses ahead, or an empty string.
        answer_tokens: The longest answer where a request sets none; -1 for what the context takes.
    """

    path: str
    alias: str
    context: int
    parallel: int
    threads: int
    gpu_layers: int
    tensor_split: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None
    kv_type: str = "f16"
    prompt_cache_mib: int = 0
    purpose: str = "chat"
    pooling: bool = False
    lora: tuple[str, ...] = ()
    mmproj: str = ""
    draft: str = ""
    answer_tokens: int = -1

    def environment(self) -> dict[str, str]:
        """The variables of the worker."""
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if self.gpus is None:
            return passed_on
        return passed_on | {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}


class LlamaCppProcess:
    """A running worker.

    Attributes:
        address: Where its HTTP server listens, on loopback.
        api_key: What it wants on every request.
    """

    def __init__(self, process: Process, api_key: str) -> None:
        self._process = process
        self.api_key = api_key
        self.address = ""

    @classmethod
    async def start(cls, job: LoadJob, timeout_s: float) -> Self:
        """Starts a worker and waits until it serves the model.

        Raises:
            ModelFailed: llama.cpp refused the file, crashed on it, or took too long.
        """
        process = await anyio.open_process(
            [sys.executable, "-I", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=job.environment(),
            start_new_session=True,
        )
        worker = cls(process, secrets.token_urlsafe(32))
        try:
            with anyio.fail_after(timeout_s):
                worker.address = await worker._load(job)
        except TimeoutError as error:
            await worker.stop()
            raise ModelFailed(f"Loading took longer than {timeout_s:g} s.") from error
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    async def end_within(self, timeout_s: float) -> str:
        """Waits for its end and tells how it came; an empty string where it still runs."""
        with anyio.move_on_after(timeout_s):
            await self._process.wait()
        return how_it_ended(self._process.returncode)

    async def stop(self) -> None:
        """Ends the process; idempotent."""
        with anyio.CancelScope(shield=True):
            if self.alive:
                self._process.kill()
            await self._process.wait()
            await self._process.aclose()

    async def _load(self, job: LoadJob) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker was started without pipes")
        order = asdict(job) | {"api_key": self.api_key}
        try:
            await stdin.send(json.dumps(order).encode() + b"\n")
            line = await BufferedByteReceiveStream(stdout).receive_until(b"\n", ANSWER_BYTES)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            code = await self._process.wait()
            raise ModelFailed(f"llama.cpp {how_it_ended(code)} while loading it.") from error
        answer = json.loads(line)
        if "error" in answer:
            reason = answer["error"] or "the file is damaged or not supported"
            raise ModelFailed(f"llama.cpp cannot load it: {reason.rstrip('.')}.")
        return str(answer["address"])


def how_it_ended(status: int | None) -> str:
    """Says for people how a process ended."""
    if status is None:
        return ""
    if status == -signal.SIGKILL:
        return "was killed, as by a host without memory,"
    if status < 0:
        return f"crashed ({signal.Signals(-status).name})"
    return f"ended with status {status}"
