"""Runs that go on without anyone waiting for their answer."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

import anyio

from lm_sandbox.agent.event_log import EventLog
from lm_sandbox.errors import QuotaReached

LOG = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Job:
    owner: str
    log: EventLog
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class BackgroundRuns:
    """Keeps runs at work; they end with the server.

    Args:
        most: Of one caller at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: dict[str, _Job] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(self._tasks.cancel_scope.cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    def start(self, run_id: str, owner: str, log: EventLog, work: Work) -> None:
        """Begins the work of a run.

        Raises:
            QuotaReached: the caller has as many at work as one may.
        """
        if sum(job.owner == owner for job in self._jobs.values()) >= self._most:
            raise QuotaReached(f"{self._most} runs of yours are in the background; wait for one to end.")
        self._jobs[run_id] = job = _Job(owner, log)
        self._tasks.start_soon(self._work, run_id, job, work)

    def log(self, run_id: str) -> EventLog | None:
        """Returns what has happened in a run that is at work here."""
        job = self._jobs.get(run_id)
        return None if job is None else job.log

    async def cancel(self, run_id: str) -> None:
        """Ends a run and waits until it has ended; does nothing where it has."""
        job = self._jobs.get(run_id)
        if job is not None:
            job.scope.cancel()
            await job.ended.wait()

    async def _work(self, run_id: str, job: _Job, work: Work) -> None:
        try:
            with job.scope:
                await work()
        except Exception:
            # One run that cannot be kept, as on a full disk, ends no other and not the server.
            LOG.exception("the run %s failed in the background", run_id)
        finally:
            del self._jobs[run_id]
            job.ended.set()
