"""The audit as the server uses it: taking an entry costs microseconds, a thread of its own writes them."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, time
from typing import Self

import anyio.to_thread

from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.seals import LOST
from lm_sandbox.audit.store import AuditStore
from lm_sandbox.errors import AuditUnavailable

LOG = logging.getLogger(__name__)

# So long entries gather, which makes one write of many.
GATHER_S = 0.05
# A crash of the machine, not of the server, loses so much at most.
SYNC_S = 1.0
RETRY_S = 1.0
PRUNE_S = 3600.0
MOST_PENDING = 20_000


class AuditLog:
    """Takes entries and has them written; entered before everything that is recorded.

    Args:
        store: Where they go.
        checkpoint_s: A checkpoint follows a record after so long, at the latest.
        clock: Seconds that only go up.
    """

    def __init__(
        self, store: AuditStore, checkpoint_s: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store = store
        self._checkpoint_s = checkpoint_s
        self._clock = clock
        self._pending: list[Entry] = []
        self._waiting: list[Future[None]] = []
        self._lost = 0
        self._failure: OSError | None = None
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._write_for_ever, name="audit", daemon=True)
        self._sealed_at = self._pruned_at = self._synced_at = clock()

    @property
    def folder(self) -> Path:
        """Where the chain is kept."""
        return self._store.folder

    @property
    def failing(self) -> bool:
        """Whether the last write failed."""
        return self._failure is not None

    async def __aenter__(self) -> Self:
        """Opens the chain.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        try:
            await anyio.to_thread.run_sync(self._store.open)
        except OSError as error:
            raise _unavailable(error) from error
        self._thread.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Writes what is pending, and signs it."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)

    def add(self, entry: Entry) -> None:
        """Takes an entry, which is on the disk a moment later."""
        with self._changed:
            if len(self._pending) >= MOST_PENDING:
                self._lost += 1
                return
            self._pending.append(entry)
            if len(self._pending) == 1:
                self._changed.notify()

    async def flush(self) -> None:
        """Returns when all that was added is on the disk.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        done: Future[None] = Future()
        with self._changed:
            self._waiting.append(done)
            self._changed.notify()
        try:
            await asyncio.wrap_future(done)
        except OSError as error:
            raise _unavailable(error) from error

    def require(self) -> None:
        """Refuses what must not go unrecorded.

        Raises:
            AuditUnavailable: the last write failed.
        """
        if self._failure is not None:
            raise _unavailable(self._failure)

    def _write_for_ever(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._wait()
                closing = self._closing
                entries, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
            self._failure = self._attempt(entries, durable=bool(waiting) or closing)
            for done in waiting:
                done.set_exception(self._failure) if self._failure else done.set_result(None)
            self._attempt_upkeep(closing=closing)
        self._store.close()

    def _wait(self) -> None:
        if self._failure is None:
            self._changed.wait_for(lambda: self._presses() or bool(self._pending), self._rest_s())
        self._changed.wait_for(self._presses, GATHER_S if self._failure is None else RETRY_S)

    def _presses(self) -> bool:
        return self._closing or bool(self._waiting)

    def _rest_s(self) -> float:
        if self._store.unsynced:
            return SYNC_S
        return self._checkpoint_s if self._store.unsealed else PRUNE_S

    def _attempt(self, entries: list[Entry], *, durable: bool) -> OSError | None:
        lost = [Entry(LOST, time(), outcome="lost", what={"records": self._lost})] if self._lost else []
        try:
            if entries or lost:
                self._store.append([*entries, *lost])
                entries, self._lost = [], 0
            if durable or self._clock() - self._synced_at >= SYNC_S:
                self._store.sync()
                self._synced_at = self._clock()
        except OSError as error:
            self._give_back(entries, error)
            return error
        except Exception:
            # Whatever it is, the thread must live, or nothing would be recorded any more.
            LOG.exception("audit records could not be written")
            self._lost += len(entries)
        return None

    def _attempt_upkeep(self, *, closing: bool) -> None:
        now = self._clock()
        try:
            if closing or now - self._sealed_at >= self._checkpoint_s:
                self._store.seal()
                self._sealed_at = now
            if now - self._pruned_at >= PRUNE_S:
                self._store.prune()
                self._pruned_at = now
        except OSError as error:
            LOG.warning("the audit could not be signed or pruned: %s", error.strerror)

    def _give_back(self, entries: list[Entry], error: OSError) -> None:
        if self._failure is None:
            LOG.error("audit records cannot be written: %s", error.strerror)
        with self._changed:
            room = max(0, MOST_PENDING - len(self._pending))
            self._lost += max(0, len(entries) - room)
            self._pending[:0] = entries[:room]


def _unavailable(error: OSError) -> AuditUnavailable:
    reason = error.strerror or "the disk does not answer"
    return AuditUnavailable(
        f"The audit cannot be written ({reason}), and what changes the server must be recorded; "
        "make room on the disk of the data directory."
    )
