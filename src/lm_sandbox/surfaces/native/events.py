"""What happened to a sandbox."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.events import Event, EventKind
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class

ROUTER = APIRouter(prefix="/v1/sandboxes/{sandbox_id}", tags=["network"], route_class=route_class(problem))


class EventOut(BaseModel):
    """Something that happened to a sandbox."""

    number: int = Field(description="goes up; give the last one as `after` for what comes next")
    at: datetime
    kind: EventKind
    subject: str
    detail: str
    count: int = Field(description="how often it happened in a row")

    @classmethod
    def of(cls, event: Event) -> Self:
        """Renders an event."""
        return cls(
            number=event.number,
            at=event.at,
            kind=event.kind,
            subject=event.subject,
            detail=event.detail,
            count=event.count,
        )


class EventList(BaseModel):
    """Events, oldest first."""

    data: list[EventOut]


@ROUTER.get("/events")
async def list_events(
    sandbox_id: str,
    caller: SandboxCaller,
    deps: Deps,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventList:
    """Lists what was refused to a sandbox, oldest first; the last 1000 are kept."""
    events = deps.sandboxes.events(caller, sandbox_id).after(after, limit)
    return EventList(data=[EventOut.of(event) for event in events])
