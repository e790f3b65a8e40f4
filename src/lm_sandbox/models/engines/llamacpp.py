"""The embedded llama.cpp: one worker process a loaded model, started when first needed."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from time import monotonic
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.config import LlamaCppSettings
from lm_sandbox.errors import EngineUnavailable, ModelFailed, ModelNotFound
from lm_sandbox.models.engine import Lease, Model, ModelState
from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess, LoadJob
from lm_sandbox.models.gguf import GgufHeader, read_header
from lm_sandbox.models.library import ModelFile, find_models

NANO = "nano"
UNKNOWN_CONTEXT = 4096
# After so long without a crash, earlier ones are forgotten.
CRASHES_FORGOTTEN_S = 60.0
LONGEST_BACK_OFF_S = 30.0
SMALL_MODEL_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Loaded:
    """What is known of one model file."""

    file: ModelFile
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    worker: LlamaCppProcess | None = None
    leases: int = 0
    idle_since: float = 0.0
    failure: str = ""
    failed_version: tuple[int, int] | None = None
    crashes: int = 0
    crashed_at: float = 0.0
    loading: bool = False


class LlamaCppEngine:
    """Serves GGUF files through llama.cpp.

    Args:
        settings: Context, threads, layers and time-outs.
        models_dir: Where GGUF files are looked for.
        clock: Seconds that only go up.
    """

    name = "llamacpp"

    def __init__(
        self,
        settings: LlamaCppSettings,
        models_dir: Path,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._models_dir = models_dir
        self._clock = clock
        self._known: dict[str, _Loaded] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            exits.push_async_callback(self._stop_all)
            tasks.start_soon(self._unload_idle_for_ever)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def models(self) -> list[Model]:
        """Lists the bundled demo model and every GGUF file, failed ones with their reason."""
        found = await anyio.to_thread.run_sync(self._find)
        return [await anyio.to_thread.run_sync(self._describe, known) for known in found]

    @asynccontextmanager
    async def acquire(self, model: str) -> AsyncIterator[Lease]:
        """Loads the model if needed and keeps it loaded until the context is left.

        Raises:
            ModelNotFound: there is no such file.
            ModelFailed: llama.cpp cannot load it.
            EngineUnavailable: its worker has crashed again and again.
        """
        known = await self._known_model(model)
        known.leases += 1
        try:
            async with known.lock:
                worker = await self._ready(known)
            yield Lease(
                base_url=worker.address,
                model=model,
                headers={"Authorization": f"Bearer {worker.api_key}"},
            )
        finally:
            known.leases -= 1
            known.idle_since = self._clock()

    async def unload(self, model: str) -> None:
        """Ends the model's worker once nobody uses it."""
        known = self._known.get(model)
        if known is None:
            return
        async with known.lock:
            if known.worker is not None and not known.leases:
                await known.worker.stop()
                known.worker = None

    async def unload_idle(self) -> None:
        """Unloads the models that nobody used for the idle time-out."""
        oldest = self._clock() - self._settings.idle_unload_s
        for name, known in list(self._known.items()):
            if known.worker is not None and not known.leases and known.idle_since <= oldest:
                await self.unload(name)

    async def _unload_idle_for_ever(self) -> None:
        while True:
            await anyio.sleep(min(30.0, self._settings.idle_unload_s / 2))
            await self.unload_idle()

    async def _stop_all(self) -> None:
        for known in self._known.values():
            if known.worker is not None:
                await known.worker.stop()
                known.worker = None

    async def _ready(self, known: _Loaded) -> LlamaCppProcess:
        if known.worker is not None and known.worker.alive:
            return known.worker
        if known.worker is not None:
            await self._after_crash(known)
        version = known.file.version()
        if known.failure and known.failed_version == version:
            raise ModelFailed(f"The model {known.file.name!r} cannot be loaded. {known.failure}")
        known.loading = True
        try:
            known.worker = await self._load(known)
        except ModelFailed as error:
            known.failure, known.failed_version = error.message, version
            raise ModelFailed(f"The model {known.file.name!r} cannot be loaded. {error.message}") from error
        finally:
            known.loading = False
        known.failure = ""
        return known.worker

    async def _after_crash(self, known: _Loaded) -> None:
        worker, known.worker = known.worker, None
        if worker is not None:
            await worker.stop()
        now = self._clock()
        if now - known.crashed_at > CRASHES_FORGOTTEN_S:
            known.crashes = 0
        wait_s = back_off_s(known.crashes)
        if known.crashes and now - known.crashed_at < wait_s:
            raise EngineUnavailable(
                f"The worker of {known.file.name!r} has crashed {known.crashes} times; "
                "it is started again in a moment.",
                retry_after_s=max(1, round(wait_s)),
            )
        known.crashes += 1
        known.crashed_at = now

    async def _load(self, known: _Loaded) -> LlamaCppProcess:
        header = await anyio.to_thread.run_sync(read_header, known.file.path)
        job = self._job(known.file, header)
        return await LlamaCppProcess.start(job, self._settings.load_timeout_s)

    def _job(self, file: ModelFile, header: GgufHeader) -> LoadJob:
        settings = self._settings
        return LoadJob(
            path=str(file.path),
            alias=file.name,
            context=self._context(header) * settings.parallel,
            parallel=settings.parallel,
            threads=settings.threads or threads_for(file.version()[1], physical_cores()),
            gpu_layers=settings.gpu_layers,
        )

    def _context(self, header: GgufHeader) -> int:
        return min(header.context_tokens or UNKNOWN_CONTEXT, self._settings.context_tokens)

    async def _known_model(self, name: str) -> _Loaded:
        if name not in self._known or not self._known[name].file.path.exists():
            await anyio.to_thread.run_sync(self._find)
        if name not in self._known:
            raise ModelNotFound(name, sorted(self._known))
        return self._known[name]

    def _find(self) -> list[_Loaded]:
        files = [*find_models(self._models_dir), *_bundled()]
        names = {file.name for file in files}
        for name, known in list(self._known.items()):
            if name not in names and known.worker is None:
                del self._known[name]
        return [self._known.setdefault(file.name, _Loaded(file)) for file in files]

    def _describe(self, known: _Loaded) -> Model:
        context: int | None = None
        failure = known.failure if known.failed_version == known.file.version() else ""
        if not failure:
            try:
                context = self._context(read_header(known.file.path))
            except ModelFailed as error:
                failure = error.message
        return Model(
            name=known.file.name,
            engine=self.name,
            state=_state(known, failure),
            reason=failure,
            context_tokens=context,
            size_bytes=known.file.version()[1],
            demo=known.file.name == NANO,
        )


def back_off_s(crashes: int) -> float:
    """How long after the latest crash the next start waits: none after the first, then doubling."""
    return 0.0 if crashes < 1 else min(LONGEST_BACK_OFF_S, 2.0 ** (crashes - 1))


def threads_for(size_bytes: int, cores: int) -> int:
    """Chooses the threads for a model of this size.

    Threads meet after every layer and spin until the last is there: a small model loses more by that
    than it gains, and on a busy host everything.
    """
    return 1 if size_bytes < SMALL_MODEL_BYTES else cores


def physical_cores() -> int:
    """Counts the cores that this process may use, two threads of one core as one."""
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)


def _state(known: _Loaded, failure: str) -> ModelState:
    if failure:
        return ModelState.FAILED
    if known.loading:
        return ModelState.LOADING
    loaded = known.worker is not None and known.worker.alive
    return ModelState.LOADED if loaded else ModelState.AVAILABLE


def _bundled() -> list[ModelFile]:
    path = Path(str(resources.files("lm_sandbox.models.bundled") / f"{NANO}.gguf"))
    return [ModelFile(NANO, path)] if path.is_file() else []
