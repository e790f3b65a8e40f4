"""The embedded llama.cpp: one worker process a loaded model, started when first needed."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Self

import anyio
import anyio.to_thread

from lm_sandbox.config.models import LlamaCppSettings, ModelSettings
from lm_sandbox.errors import (
    Conflict,
    DoesNotFit,
    EngineUnavailable,
    LmSandboxError,
    ModelFailed,
    ModelNotFound,
    NoCapacity,
)
from lm_sandbox.identity.queueing import FairQueue
from lm_sandbox.models.engine import Lease, Model, ModelDetail, ModelState, Tell
from lm_sandbox.models.engines.llamacpp_facts import facts_of
from lm_sandbox.models.engines.llamacpp_model import KnownModel, Wishes
from lm_sandbox.models.engines.llamacpp_placing import Placing
from lm_sandbox.models.engines.llamacpp_process import LlamaCppProcess
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.hardware import Hardware, read_hardware
from lm_sandbox.models.hub import Hub
from lm_sandbox.models.hub_files import HUB
from lm_sandbox.models.library import NANO, Library, ModelFile
from lm_sandbox.models.model_kind import ModelKind, kind_of

LOG = logging.getLogger(__name__)
# So many requests a slot are handed to llama.cpp, so that none of its slots waits for us.
AHEAD = 2
COUNTING = {"timings_per_token": True}
LONGEST_LOOK_S = 5.0
END_IS_SEEN_S = 0.5


class LlamaCppEngine:
    """Serves GGUF files through llama.cpp.

    Args:
        settings: Context, threads, layers and time-outs.
        models_dir: Where GGUF files are looked for and pulled to.
        clock: Seconds that only go up.
        hardware: Looks at the machine.
        leases: GPUs that are lent to others.
    """

    name = "llamacpp"

    def __init__(
        self,
        settings: LlamaCppSettings,
        models_dir: Path,
        *,
        clock: Callable[[], float] = monotonic,
        hardware: Callable[[], Hardware] = read_hardware,
        leases: GpuLeases | None = None,
    ) -> None:
        sources = {name: model.source for name, model in settings.models.items() if model.source}
        self._settings = settings
        self._sources = sources
        self._library = Library(models_dir, sources)
        self._hub = Hub(models_dir, settings.hub_token)
        self._clock = clock
        self._known: dict[str, KnownModel] = {}
        self._leases = leases or GpuLeases()
        self._placing = Placing(self._known, hardware, self._leases, settings)
        self._displaced: set[str] = set()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            exits.push_async_callback(self._stop_all)
            tasks.start_soon(self._unload_idle_for_ever)
            self._leases.settle(self)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def models(self) -> list[Model]:
        """Lists the bundled demo model and every GGUF file, failed ones with their reason."""
        return await anyio.to_thread.run_sync(self._describe_all)

    @asynccontextmanager
    async def acquire(
        self, model: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AsyncIterator[Lease]:
        """Loads the model if needed and keeps it loaded until the context is left.

        Raises:
            ModelNotFound: there is no such file.
            ModelFailed: llama.cpp cannot load it.
            DoesNotFit: this machine is too small for it.
            NoCapacity: too many wait for it, or those that must make room are in use.
            EngineUnavailable: its worker has crashed again and again, or with this request.
        """
        known = await self._known_model(model)
        async with known.queue.turn(caller):
            async with known.lock:
                worker = await self._ready(known)
                known.lend(keep_alive_s)
            try:
                headers = {"Authorization": f"Bearer {worker.api_key}"}
                yield Lease(worker.address, model, headers, counting=COUNTING)
            except EngineUnavailable as error:
                if how := await worker.end_within(END_IS_SEEN_S):
                    raise EngineUnavailable(
                        f"The worker of {model!r} {how} during the request; it is started again.",
                        retry_after_s=1,
                    ) from error
                raise
            finally:
                known.take_back()
                if known.overdue():
                    await known.end_worker()

    async def load(self, model: str, keep_alive_s: float | None = None) -> None:
        """Loads a model ahead; raises as `acquire` does."""
        known = await self._known_model(model)
        async with known.lock:
            await self._ready(known)
            known.keep_alive_s = keep_alive_s
            known.idle_since = self._clock()

    async def unload(self, model: str) -> None:
        """Ends the model's worker once nobody uses it."""
        known = self._known.get(model)
        if known is not None:
            async with known.lock:
                await known.until_idle()
                await known.end_worker()

    async def unload_idle(self) -> None:
        """Unloads the models that nobody used for the idle time-out."""
        for known in list(self._known.values()):
            if known.overdue():
                await known.end_worker()

    async def show(self, model: str) -> ModelDetail:
        """Tells about a model: its header, and where it is or would be.

        Raises:
            ModelNotFound: there is no such file.
        """
        known = await self._known_model(model)
        described = await anyio.to_thread.run_sync(self._describe, known)
        try:
            header = await anyio.to_thread.run_sync(self._library.header, known.file)
        except ModelFailed as error:
            return ModelDetail(described, {}, problem=error.message)
        facts = facts_of(known.file, header, known.wishes)
        if known.plan is not None:
            return ModelDetail(described, facts, known.plan)
        try:
            plan = (await self._placing.decide(known, header)).plan
        except (DoesNotFit, NoCapacity) as error:
            return ModelDetail(described, facts, problem=error.message)
        return ModelDetail(described, facts, plan, described.reason)

    async def pull(self, source: str, tell: Tell) -> None:
        """Pulls from the Hugging Face hub: `hf:owner/repo:quant`, or the name of a configured model.

        Raises:
            Invalid: this is no source.
            UpstreamError: the hub has no such model, or it came damaged.
            EngineUnavailable: the hub does not answer.
        """
        await self._hub.pull(self._sources.get(source, source), tell)

    async def remove(self, model: str) -> None:
        """Deletes the files of a model.

        Raises:
            ModelNotFound: there is no such file.
            Conflict: it is in use.
            Unsupported: its file is not in the folder of models.
        """
        known = await self._known_model(model)
        if known.leases:
            raise Conflict(f"The model {model!r} is in use; try again when its requests are done.")
        async with known.lock:
            await known.end_worker()
            await anyio.to_thread.run_sync(self._library.remove, known.file)

    async def copy(self, model: str, name: str) -> None:
        """Links a model's file under a second name.

        Raises:
            ModelNotFound: there is no such file.
            Invalid: this is no name for one.
            Conflict: there is one of that name.
            Unsupported: its file is on another disk than the folder of models, or in parts.
        """
        known = await self._known_model(model)
        await anyio.to_thread.run_sync(self._library.link, known.file, name)

    async def vacate(self, gpu: str) -> None:
        """Takes every model off a GPU, each when its requests are done."""
        for name, known in list(self._known.items()):
            async with known.lock:
                if known.plan is not None and gpu in known.plan.uses:
                    await known.until_idle()
                    await known.end_worker()
                    self._displaced.add(name)

    async def come_back(self) -> None:
        """Loads the models again that were taken off a GPU; one that cannot be loaded waits for its use."""
        names, self._displaced = self._displaced, set()
        for name in names:
            try:
                await self.load(name)
            except LmSandboxError as error:
                LOG.warning("the model %s does not come back: %s", name, error.message)

    async def _unload_idle_for_ever(self) -> None:
        while True:
            await anyio.sleep(min(LONGEST_LOOK_S, self._settings.idle_unload_s / 2))
            await self.unload_idle()

    async def _stop_all(self) -> None:
        for known in self._known.values():
            await known.end_worker()

    async def _ready(self, known: KnownModel) -> LlamaCppProcess:
        if known.running is not None:
            return known.running
        if known.worker is not None:
            await known.end_worker()
            known.count_crash()
        known.refuse_if_backing_off()
        version = known.file.version()
        known.refuse_if_failed(version)
        try:
            known.worker = await self._load(known)
        except DoesNotFit:
            raise
        except ModelFailed as error:
            raise known.failed(error, version) from error
        known.failure = ""
        return known.worker

    async def _load(self, known: KnownModel) -> LlamaCppProcess:
        header = await anyio.to_thread.run_sync(self._library.header, known.file)
        async with self._placing.reserved(known, header) as job:
            return await LlamaCppProcess.start(job, self._settings.load_timeout_s)

    async def _known_model(self, name: str) -> KnownModel:
        if name not in self._known or not self._known[name].file.path.exists():
            await anyio.to_thread.run_sync(self._find)
        if name in self._known:
            return self._known[name]
        if self._sources.get(name, "").startswith(HUB):
            raise ModelFailed(f"{name!r} has not been pulled; do it with 'lm-sandbox models pull {name}'.")
        raise ModelNotFound(name, sorted(self._known))

    def _find(self) -> list[KnownModel]:
        files = self._library.find()
        names = {file.name for file in files}
        for name, known in list(self._known.items()):
            if name not in names and known.worker is None:
                del self._known[name]
        return [self._know(file) for file in files]

    def _know(self, file: ModelFile) -> KnownModel:
        known = self._known.get(file.name)
        if known is not None and (known.file == file or known.worker is not None):
            return known
        wishes = Wishes(self._settings, self._settings.models.get(file.name, ModelSettings()))
        queue = FairQueue(AHEAD * wishes.parallel, self._settings.queue)
        self._known[file.name] = KnownModel(file, wishes, self._clock, queue)
        return self._known[file.name]

    def _describe_all(self) -> list[Model]:
        return [self._describe(known) for known in self._find()]

    def _describe(self, known: KnownModel) -> Model:
        context: int | None = None
        kind = ModelKind()
        failure = known.failure if known.failed_version == known.file.version() else ""
        if not failure:
            try:
                header = self._library.header(known.file)
                context = known.wishes.context(header)
                own = known.wishes.own
                kind = kind_of(header, own.purpose, vision=own.mmproj is not None)
            except ModelFailed as error:
                failure = error.message
        changed_ns, size = known.file.version()
        state = known.state(failure)
        return Model(
            name=known.file.name,
            engine=self.name,
            state=state,
            reason=failure,
            context_tokens=context,
            size_bytes=size,
            demo=known.file.name == NANO,
            kind=kind,
            modified_at=changed_ns / 1e9,
            unloads_in_s=known.unloads_in_s() if state is ModelState.LOADED else None,
        )
