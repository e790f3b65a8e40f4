"""Sandboxes that are made before anybody asks for them, so that asking takes no time."""

import logging
import secrets
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Self

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.maker import Maker
from lm_sandbox.sandboxes.drivers.bubblewrap.sandbox import BubblewrapSandbox
from lm_sandbox.sandboxes.limits import Limits

LOG = logging.getLogger(__name__)
# The host refused one; it is asked again so much later.
AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Warm:
    """What is kept ready.

    Attributes:
        count: How many sandboxes.
        limits: Their limits; who wants others gets one that is made for them.
    """

    count: int
    limits: Limits


class WarmPool:
    """Keeps sandboxes ready, each used once and by nobody before.

    Args:
        maker: Makes them.
        warm: How many, and with which limits.
    """

    def __init__(self, maker: Maker, warm: Warm) -> None:
        self._maker = maker
        self._warm = warm
        self._ready: deque[BubblewrapSandbox] = deque()
        self._dead: list[BubblewrapSandbox] = []
        self._wanted = anyio.Event()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            exits.push_async_callback(self._unmake_all)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self._fill_for_ever)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    @property
    def ready(self) -> int:
        """How many there are."""
        return len(self._ready)

    def take(self, spec: SandboxSpec) -> BubblewrapSandbox | None:
        """Returns one that is as asked for, or None."""
        if replace(spec, env={}) != SandboxSpec(limits=self._warm.limits):
            return None
        while self._ready:
            made = self._ready.popleft()
            self._wanted.set()
            if made.alive:
                made.env = dict(spec.env)
                return made
            self._dead.append(made)
        return None

    async def _fill_for_ever(self) -> None:
        while True:
            self._wanted = anyio.Event()
            while self._dead:
                await self._maker.unmake(self._dead.pop())
            while len(self._ready) < self._warm.count:
                try:
                    await self._make_one()
                except LmSandboxError as error:
                    LOG.warning("no sandbox could be made ahead: %s", error)
                    await anyio.sleep(AGAIN_S)
            await self._wanted.wait()

    async def _make_one(self) -> None:
        sandbox = SandboxId(f"warm_{secrets.token_hex(8)}")
        made = await self._maker.make(sandbox, SandboxSpec(limits=self._warm.limits))
        self._ready.append(made)
        await made.warm_up()

    async def _unmake_all(self) -> None:
        for sandbox in (*self._ready, *self._dead):
            await self._maker.unmake(sandbox)
