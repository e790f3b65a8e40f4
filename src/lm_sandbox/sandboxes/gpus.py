"""GPUs for sandboxes: which one may have, and that models make way for it and come back after."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio.to_thread
from anyio.abc import TaskGroup

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.nvidia import GpuDevice, read_gpus

ALL = "all"
NONE_ALLOWED = "This server lends sandboxes no GPU; an admin names those it may lend in sandbox.gpus."
NONE_THERE = "This host has no NVIDIA driver, so there is no GPU for sandboxes."

# How many, or which: by UUID or by number.
Asked = int | tuple[str, ...]


class Lender(Protocol):
    """Who has GPUs free of models for whom they are lent."""

    @property
    def lent(self) -> Mapping[str, int]:
        """How many hold each GPU, by its UUID."""
        ...

    async def lend(self, gpu: str, timeout_s: float) -> None:
        """Frees a GPU of models, ending no request, and keeps it free until it is taken back.

        Raises:
            NoCapacity: requests in flight took longer.
        """
        ...

    async def take_back(self, gpu: str) -> None:
        """Lets models have it again, when nobody else holds it."""
        ...


class Unshared:
    """GPUs that no models use."""

    lent: Mapping[str, int] = {}

    async def lend(self, gpu: str, timeout_s: float) -> None:
        """Has nothing to free."""

    async def take_back(self, gpu: str) -> None:
        """Has nothing to load."""


class Gpus:
    """Lends GPUs to sandboxes.

    Args:
        settings: Which may be lent.
        lender: Has them free.
        look: Lists those of this machine.
    """

    def __init__(
        self,
        settings: SandboxSettings,
        lender: Lender | None = None,
        look: Callable[[], Sequence[GpuDevice]] = read_gpus,
    ) -> None:
        self._allowed = settings.gpus
        self._wait_s = settings.gpu_wait_s
        self._lender = lender or Unshared()
        self._look = look
        self._tasks: TaskGroup | None = None

    def own(self, tasks: TaskGroup) -> None:
        """Says what holds the models that come back by themselves."""
        self._tasks = tasks

    async def choose(self, asked: Asked) -> tuple[GpuDevice, ...]:
        """Chooses those that a sandbox gets.

        Raises:
            Invalid: the server lends none, not as many, or not these.
            Unsupported: the host has none.
        """
        if not asked:
            return ()
        if not self._allowed:
            raise Invalid(NONE_ALLOWED, field="gpus")
        there = await anyio.to_thread.run_sync(self._look)
        if not there:
            raise Unsupported(NONE_THERE)
        return choose(asked, self._allowed, there, self._lender.lent)

    async def take(self, gpus: Sequence[GpuDevice]) -> None:
        """Has GPUs free for a sandbox, all of them or none.

        Raises:
            NoCapacity: a model on one is still answering.
        """
        taken: list[GpuDevice] = []
        try:
            for gpu in gpus:
                await self._lender.lend(gpu.id, self._wait_s)
                taken.append(gpu)
        except BaseException:
            self.give_back(taken)
            raise

    def give_back(self, gpus: Sequence[GpuDevice]) -> None:
        """Lets models come back, for which nobody has to wait."""
        if gpus and self._tasks is not None:
            self._tasks.start_soon(self._give_back, tuple(gpus))

    async def _give_back(self, gpus: Sequence[GpuDevice]) -> None:
        for gpu in gpus:
            await self._lender.take_back(gpu.id)


def lendable(allowed: Sequence[str], there: Sequence[GpuDevice]) -> list[GpuDevice]:
    """Lists the GPUs that may be lent: those named by UUID or number, or all."""
    named = set(allowed)
    return [gpu for number, gpu in enumerate(there) if ALL in named or {gpu.id, str(number)} & named]


def choose(
    asked: Asked, allowed: Sequence[str], there: Sequence[GpuDevice], lent: Mapping[str, int]
) -> tuple[GpuDevice, ...]:
    """Chooses among the GPUs that may be lent, those first that fewest sandboxes have.

    Raises:
        Invalid: there are not as many, or not these.
    """
    may = lendable(allowed, there)
    if isinstance(asked, int):
        if asked > len(may):
            raise Invalid(f"gpus may be {len(may)} at most on this server.", field="gpus")
        return tuple(sorted(may, key=lambda gpu: lent.get(gpu.id, 0))[:asked])
    named = {name: gpu for number, gpu in enumerate(there) for name in (gpu.id, str(number)) if gpu in may}
    for name in asked:
        if name not in named:
            raise Invalid(f"The GPU {name!r} is not lent to sandboxes on this server.", field="gpus")
    return tuple(dict.fromkeys(named[name] for name in asked))
