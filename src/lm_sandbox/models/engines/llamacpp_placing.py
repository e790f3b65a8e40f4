"""Finds room for a model on this machine, and unloads others for it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread

from lm_sandbox.config.models import LlamaCppSettings
from lm_sandbox.errors import DoesNotFit, NoCapacity
from lm_sandbox.models.engines.llamacpp_model import KnownModel
from lm_sandbox.models.engines.llamacpp_process import LoadJob
from lm_sandbox.models.estimate import Needs
from lm_sandbox.models.gguf import GgufHeader
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.hardware import MIB, Hardware
from lm_sandbox.models.placement import Plan, Promised, plan, room_of
from lm_sandbox.models.scheduler import Decision, make_room, uses_of

RETRY_AFTER_S = 10


class Placing:
    """Plans one load at a time.

    Args:
        known: The models of the engine.
        hardware: Looks at the machine.
        leases: GPUs that are lent to others.
        settings: Memory and threads.
    """

    def __init__(
        self,
        known: Mapping[str, KnownModel],
        hardware: Callable[[], Hardware],
        leases: GpuLeases,
        settings: LlamaCppSettings,
    ) -> None:
        self._known = known
        self._look = hardware
        self._leases = leases
        self._settings = settings
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def reserved(self, model: KnownModel, header: GgufHeader) -> AsyncIterator[LoadJob]:
        """Makes room for a model and keeps it; it is given back where the load fails.

        Raises:
            DoesNotFit: this machine is too small for it.
            NoCapacity: those that must make room for it are in use.
        """
        async with self._lock:
            hardware = await anyio.to_thread.run_sync(self._look)
            decision = await self._decide(model, header, hardware)
            model.plan = decision.plan
            # All at once: what is unloaded first takes a moment, in which the next could be asked for.
            workers = [self._known[name].detach_worker() for name in decision.evict]
            for worker in workers:
                if worker is not None:
                    await worker.stop()
        try:
            yield model.wishes.job(model.file, header, decision.plan, gpus_known=bool(hardware.gpus))
        except BaseException:
            model.plan = None
            raise

    async def decide(self, model: KnownModel, header: GgufHeader) -> Decision:
        """Plans a load; raises as `reserved` does."""
        return await self._decide(model, header, await anyio.to_thread.run_sync(self._look))

    async def _decide(self, model: KnownModel, header: GgufHeader, hardware: Hardware) -> Decision:
        needs = await anyio.to_thread.run_sync(model.wishes.needs, header)
        residents = [known.resident for known in self._known.values() if known.plan and known is not model]
        place = partial(self._place, model, needs, hardware)
        try:
            return make_room(residents, place)
        except DoesNotFit as refusal:
            unpinned = [r for r in residents if not self._known[r.name].wishes.own.pinned]
            try:
                place(uses_of(unpinned))
            except DoesNotFit:
                raise refusal from None
            raise NoCapacity(
                "Other models that are in use have the memory for this one; try again when they are done.",
                retry_after_s=RETRY_AFTER_S,
            ) from refusal

    def _place(self, model: KnownModel, needs: Needs, hardware: Hardware, freed: Mapping[str, int]) -> Plan:
        others = [known for known in self._known.values() if known.plan is not None and known is not model]
        promised = Promised(
            used=uses_of([known.resident for known in others]),
            pending=uses_of([known.resident for known in others if known.worker is None]),
            freed=freed,
            lent=self._leases.lent,
        )
        memory = self._settings.memory_mib
        return plan(
            needs,
            room_of(hardware, promised, memory * MIB if memory else None),
            most_gpu_layers=model.wishes.most_gpu_layers,
            threads=self._settings.threads or None,
        )
