"""One model of the embedded llama.cpp: its settings, its worker, and what became of earlier ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from lm_sandbox.config.models import LlamaCppSettings, ModelSettings
from lm_sandbox.errors import EngineUnavailable, ModelFailed
from lm_sandbox.identity.queueing import FairQueue
from lm_sandbox.models.engine import ModelState
from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess, LoadJob
from lm_sandbox.models.estimate import Needs, needs_of
from lm_sandbox.models.gguf import GgufHeader
from lm_sandbox.models.hardware import MIB
from lm_sandbox.models.library import NANO, ModelFile, Version
from lm_sandbox.models.placement import Plan
from lm_sandbox.models.scheduler import Resident

UNKNOWN_CONTEXT = 4096
# After so long without a crash, earlier ones are forgotten.
CRASHES_FORGOTTEN_S = 60.0
LONGEST_BACK_OFF_S = 30.0
# The demo model says nothing longer, but where it is lost it repeats itself until its context is full.
ANSWER_TOKENS = {NANO: 256}


@dataclass(frozen=True, slots=True)
class Wishes:
    """The settings of a model, with those for all where it has none of its own."""

    every: LlamaCppSettings
    own: ModelSettings

    @property
    def parallel(self) -> int:
        """Requests at once."""
        return self.own.parallel or self.every.parallel

    @property
    def keep_alive_s(self) -> float:
        """How long it stays unused, in seconds."""
        return self.own.keep_alive_s or self.every.idle_unload_s

    @property
    def most_gpu_layers(self) -> int | None:
        """Layers on GPUs; None for all that fit."""
        if self.own.gpu_layers is not None:
            return self.own.gpu_layers
        return self.every.gpu_layers if self.every.gpu_layers >= 0 else None

    def context(self, header: GgufHeader) -> int:
        """Tokens of one request."""
        wanted = self.own.context_tokens or self.every.context_tokens
        return min(header.context_tokens or UNKNOWN_CONTEXT, wanted)

    def needs(self, header: GgufHeader) -> Needs:
        """Estimates what the model needs with these settings; blocking."""
        extras = sum(file.stat().st_size for file in self._beside() if file.exists())
        return needs_of(header, self.context(header) * self.parallel, self.own.kv_type, extras)

    def job(self, file: ModelFile, header: GgufHeader, plan: Plan, *, gpus_known: bool) -> LoadJob:
        """Writes the order for a worker."""
        return LoadJob(
            path=str(file.path),
            alias=file.name,
            context=self.context(header) * self.parallel,
            parallel=self.parallel,
            threads=plan.threads,
            gpu_layers=plan.gpu_layers if gpus_known else self.every.gpu_layers,
            tensor_split=tuple(share.layers for share in plan.gpus),
            gpus=tuple(share.id for share in plan.gpus) if gpus_known else None,
            kv_type=self.own.kv_type,
            prompt_cache_mib=plan.prompt_cache // MIB,
            purpose=self.own.purpose,
            pooling=header.pooling,
            lora=tuple(str(path.expanduser()) for path in self.own.lora),
            mmproj=str(self.own.mmproj.expanduser()) if self.own.mmproj else "",
            draft=str(self.own.draft.expanduser()) if self.own.draft else "",
            answer_tokens=self.own.answer_tokens or ANSWER_TOKENS.get(file.name, -1),
        )

    def _beside(self) -> list[Path]:
        files = [*self.own.lora, self.own.mmproj, self.own.draft]
        return [path.expanduser() for path in files if path is not None]


@dataclass(slots=True)
class KnownModel:
    """A model and how it stands.

    Attributes:
        lock: Held while it is loaded or unloaded.
        leases: How many requests use it.
        keep_alive_s: As asked for by the latest who did, while it is loaded; None for that of the settings.
    """

    file: ModelFile
    wishes: Wishes
    clock: Callable[[], float]
    queue: FairQueue
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    worker: LlamaCppProcess | None = None
    plan: Plan | None = None
    leases: int = 0
    idle_since: float = 0.0
    keep_alive_s: float | None = None
    failure: str = ""
    failed_version: Version | None = None
    crashes: int = 0
    crashed_at: float = 0.0
    _idle: anyio.Event = field(default_factory=anyio.Event)

    @property
    def running(self) -> LlamaCppProcess | None:
        """The worker, if it lives."""
        return self.worker if self.worker is not None and self.worker.alive else None

    @property
    def movable(self) -> bool:
        """Whether it may be unloaded to make room."""
        busy = self.leases or self.lock.statistics().locked
        return self.worker is not None and not busy and not self.wishes.own.pinned

    @property
    def resident(self) -> Resident:
        """How it looks to those that need room."""
        uses = self.plan.uses if self.plan is not None else {}
        return Resident(self.file.name, uses, self.movable, self.idle_since)

    def overdue(self) -> bool:
        """Whether it has been unused for too long."""
        return self.movable and self.unloads_in_s() <= 0

    def unloads_in_s(self) -> float:
        """How long it stays from now on if nobody uses it; infinity is for ever."""
        if self.wishes.own.pinned:
            return math.inf
        limit = self.wishes.keep_alive_s if self.keep_alive_s is None else self.keep_alive_s
        return limit if self.leases else limit - (self.clock() - self.idle_since)

    def state(self, failure: str) -> ModelState:
        if failure:
            return ModelState.FAILED
        if self.running is not None:
            return ModelState.LOADED
        return ModelState.LOADING if self.plan is not None and self.worker is None else ModelState.AVAILABLE

    def lend(self, keep_alive_s: float | None = None) -> None:
        """Counts a request that uses it, and may say how long it stays after that."""
        self.leases += 1
        if keep_alive_s is not None:
            self.keep_alive_s = keep_alive_s

    def take_back(self) -> None:
        """Counts a request that does not use it any more."""
        self.leases -= 1
        self.idle_since = self.clock()
        if not self.leases:
            self._idle.set()
            self._idle = anyio.Event()

    async def until_idle(self) -> None:
        """Waits for the requests in flight; to be called with the lock, so that no new ones begin."""
        while self.leases:
            await self._idle.wait()

    def detach_worker(self) -> LlamaCppProcess | None:
        """Takes the worker out, so that nobody gets it any more."""
        worker, self.worker, self.plan = self.worker, None, None
        self.keep_alive_s = None
        return worker

    async def end_worker(self) -> None:
        """Ends the worker, if there is one."""
        worker = self.detach_worker()
        if worker is not None:
            await worker.stop()

    def failed(self, error: ModelFailed, version: Version) -> ModelFailed:
        """Remembers why this version of the file cannot be loaded, and returns what callers hear."""
        self.failure, self.failed_version = error.message, version
        return ModelFailed(f"The model {self.file.name!r} cannot be loaded. {self.failure}")

    def refuse_if_failed(self, version: Version) -> None:
        """Raises ModelFailed where this version of the file has failed before."""
        if self.failure and self.failed_version == version:
            raise ModelFailed(f"The model {self.file.name!r} cannot be loaded. {self.failure}")

    def count_crash(self) -> None:
        """Counts a crash."""
        now = self.clock()
        if now - self.crashed_at > CRASHES_FORGOTTEN_S:
            self.crashes = 0
        self.crashes += 1
        self.crashed_at = now

    def refuse_if_backing_off(self) -> None:
        """Raises EngineUnavailable where the latest crash is too near; says when to come back."""
        wait_s = back_off_s(self.crashes - 1) - (self.clock() - self.crashed_at)
        if wait_s > 0:
            raise EngineUnavailable(
                f"The worker of {self.file.name!r} has crashed {self.crashes} times; "
                "it is started again in a moment.",
                retry_after_s=max(1, math.ceil(wait_s)),
            )


def back_off_s(crashes: int) -> float:
    """How long the next start waits after so many crashes before the latest: none, then doubling."""
    return 0.0 if crashes < 1 else min(LONGEST_BACK_OFF_S, 2.0 ** (crashes - 1))
