"""How late the event loop is."""

from collections.abc import Callable
from time import perf_counter

import anyio

EVERY_S = 0.1


async def watch_loop_lag(observe: Callable[[float], None]) -> None:
    """Tells for ever by how many seconds the loop woke this task too late."""
    while True:
        started = perf_counter()
        await anyio.sleep(EVERY_S)
        observe(max(0.0, perf_counter() - started - EVERY_S))
