"""Tells a client what a command writes while it runs, not too often and never too much at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import anyio

from lm_sandbox.sandboxes.output_log import OutputLog
from lm_sandbox.surfaces.mcp.caller import Report
from lm_sandbox.surfaces.mcp.excerpts import Decoder

EVERY_S = 0.1
# Some clients give up on a call that says nothing.
HEARTBEAT_S = 10.0
MOST_BYTES = 4096


@asynccontextmanager
async def reported(log: OutputLog, report: Report | None) -> AsyncIterator[None]:
    """Reports what comes into the log, and the rest of it at the end.

    Of what comes faster than it can be told, the last `MOST_BYTES` are.
    """
    if report is None:
        yield
        return
    reporter = _Reporter(log, report)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reporter.follow)
        try:
            yield
        finally:
            reporter.stop.set()


class _Reporter:
    def __init__(self, log: OutputLog, report: Report) -> None:
        self._log = log
        self._report = report
        self._began = self._told = monotonic()
        self._after = 0
        self._decoder = Decoder()
        self.stop = anyio.Event()

    async def follow(self) -> None:
        while not self.stop.is_set():
            with anyio.move_on_after(EVERY_S):
                await self.stop.wait()
            text = await self._news()
            now = monotonic()
            if text or now - self._told >= HEARTBEAT_S:
                self._told = now
                await self._report(now - self._began, text)

    async def _news(self) -> str:
        if self._log.total <= self._after:
            return ""
        start = max(self._after, self._log.total - MOST_BYTES)
        if start > self._after:
            self._decoder = Decoder()
        chunks = await self._log.read(start)
        self._after = chunks[-1].after if chunks else self._after
        return self._decoder.decode(chunks)
