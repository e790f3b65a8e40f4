"""How a run is made and kept: from its request over what happens in it to its record."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import anyio

from lm_sandbox.agent.event_log import EventLog
from lm_sandbox.agent.events import Event
from lm_sandbox.agent.loop import Emit
from lm_sandbox.agent.request import RunRequest
from lm_sandbox.agent.run_store import RunRecord
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.runs.draft import RUNNING, Draft, Status
from lm_sandbox.surfaces.runs.record import new_record
from lm_sandbox.surfaces.runs.writer import StreamEvent
from lm_sandbox.surfaces.streams import json_line

Tell = Callable[[str], Awaitable[None]]
Ended = Callable[[Draft], Awaitable[None]]


class Making:
    """One response and the run that makes it.

    Args:
        ended: Is told when the run has ended by itself, before its client is.

    Attributes:
        draft: The response.
        log: What has happened.
    """

    def __init__(
        self,
        draft: Draft,
        run: RunRequest,
        caller: Principal,
        deps: Services,
        ended: Ended | None = None,
    ) -> None:
        self.draft = draft
        self.log = EventLog()
        self._run = run
        self._caller = caller
        self._deps = deps
        self._ended = ended
        self._entered = False

    async def start_in_background(self) -> None:
        """Begins it, for others to come back to.

        Raises:
            QuotaReached: the caller has as many at work as one may.
        """
        await self._deps.runs.add(replace(self._record(), running=True))
        self._entered = True
        try:
            self._deps.background.start(self.draft.id, self._caller.id, self.log, self.make)
        except LmSandboxError:
            await self._deps.runs.delete(self._caller, self.draft.id)
            raise

    async def make(self, tell: Tell | None = None, emit: Emit | None = None) -> None:
        """Makes it and keeps what came of it, however it ends; a failure is in the draft.

        Args:
            tell: Gets every stream event as JSON.
            emit: Gets every event of the run.
        """
        try:
            await self._make(_Teller(self.log, tell), emit)
        except BaseException:
            if self.draft.status in RUNNING:
                self.draft.cancel()
                with anyio.CancelScope(shield=True):
                    await self._keep()
            raise
        finally:
            self.log.close()

    async def _make(self, teller: "_Teller", also: Emit | None) -> None:
        draft = self.draft

        async def emit(event: Event) -> None:
            await teller.all(draft.writer.write(event))
            if also is not None:
                await also(event)

        await teller.state("created", draft)
        if draft.status is Status.QUEUED:
            await teller.state("queued", draft)
        draft.begin()
        await teller.state("in_progress", draft)
        try:
            draft.end(await self._deps.agent.run(self._caller, self._run, emit))
            await teller.all(draft.writer.close())
            if self._ended is not None:
                await self._ended(draft)
        except Exception as error:  # noqa: BLE001 - whatever it is, the response tells of it
            draft.fail(error)
        await teller.all(draft.writer.close())
        await self._keep()
        await teller.state(draft.status, draft)

    def _record(self) -> RunRecord:
        shell = self._run.shell
        sandbox_id = shell.sandbox_id if shell is not None else None
        return new_record(self.draft, self._caller.id, sandbox_id or None)

    async def _keep(self) -> None:
        """Is done before the end is told: who has read the end finds the response."""
        if not self.draft.asked.stored:
            return
        events = list(self.log.events)
        if self.draft.status is not Status.CANCELLED:
            events.append(_numbered(_state(self.draft.status, self.draft), len(events)))
        if self._entered:
            await self._deps.runs.finish(self.draft.id, json.dumps(self.draft.body()), events)
        else:
            await self._deps.runs.add(replace(self._record(), events=events))


class _Teller:
    def __init__(self, log: EventLog, tell: Tell | None) -> None:
        self._log = log
        self._tell = tell

    async def state(self, name: str, draft: Draft) -> None:
        await self._say(_state(name, draft))

    async def all(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            await self._say(event)

    async def _say(self, event: StreamEvent) -> None:
        text = _numbered(event, len(self._log.events))
        self._log.append(text)
        if self._tell is not None:
            await self._tell(text)


def _state(name: str, draft: Draft) -> StreamEvent:
    return {"type": f"response.{name}", "response": draft.body()}


def _numbered(event: StreamEvent, number: int) -> str:
    return json_line({**event, "sequence_number": number})
