"""GPUs are shared between models and sandboxes: a sandbox leases one, and models make way for it."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from lm_sandbox.errors import NoCapacity

RETRY_AFTER_S = 30


class GpuTenant(Protocol):
    """What holds models on GPUs."""

    async def vacate(self, gpu: str) -> None:
        """Takes its models off a GPU, each when the requests in flight are done; ends none of them."""
        ...

    async def come_back(self) -> None:
        """Loads again what has been taken off, where there is room for it now."""
        ...


class GpuLeases:
    """Keeps the GPUs that are lent, and asks the tenant to make way.

    A lent GPU takes no new model from the moment it is asked for. Sandboxes may share one.
    """

    def __init__(self) -> None:
        self._holders: Counter[str] = Counter()
        self._tenant: GpuTenant | None = None

    def settle(self, tenant: GpuTenant) -> None:
        """Says who has to make way."""
        self._tenant = tenant

    @property
    def lent(self) -> Mapping[str, int]:
        """How many hold each GPU, or wait for it."""
        return +self._holders

    @asynccontextmanager
    async def lease(self, gpu: str, timeout_s: float) -> AsyncIterator[None]:
        """Frees a GPU of models and keeps it free until the context is left.

        Args:
            gpu: Its UUID.
            timeout_s: How long requests in flight may take to end.

        Raises:
            NoCapacity: they took longer; nothing was ended for it.
        """
        await self.lend(gpu, timeout_s)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self.take_back(gpu)

    async def lend(self, gpu: str, timeout_s: float) -> None:
        """Frees a GPU of models and keeps it free until it is taken back; raises as `lease` does."""
        self._holders[gpu] += 1
        try:
            await self._vacate(gpu, timeout_s)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.take_back(gpu)
            raise

    async def take_back(self, gpu: str) -> None:
        """Lets models have a GPU again that was lent, when nobody else holds it."""
        self._holders[gpu] -= 1
        if not self._holders[gpu] and self._tenant is not None:
            await self._tenant.come_back()

    async def _vacate(self, gpu: str, timeout_s: float) -> None:
        if self._tenant is None:
            return
        try:
            with anyio.fail_after(timeout_s):
                await self._tenant.vacate(gpu)
        except TimeoutError as error:
            raise NoCapacity(
                "A model on this GPU is still answering; try again in a moment.", retry_after_s=RETRY_AFTER_S
            ) from error
