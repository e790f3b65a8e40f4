"""/v1/audit: who did what, for admins."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lm_sandbox.audit.reading import Page, search
from lm_sandbox.audit.reading import Query as AuditQuery
from lm_sandbox.audit.reading import export as exported
from lm_sandbox.audit.verification import FindingKind, Report, verify
from lm_sandbox.surfaces.deps import AdminCaller, Deps
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.streams import PushResponse, Write

ROUTER = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=route_class(problem))
LINES = "application/x-ndjson"


class RecordOut(BaseModel):
    """One thing that happened, as it stands in the chain."""

    model_config = ConfigDict(extra="allow")

    seq: int = Field(description="its number, from 1")
    prev: str = Field(description="the hash of the record before it")
    kind: str
    at: datetime
    who: str = Field("", description="the id of the principal")
    name: str = Field("", description="the principal's name")
    address: str = Field("", alias="from", description="of the client")
    request: str = Field("", description="the request's id, as in X-Request-Id")
    outcome: str
    ms: float | None = Field(None, description="how long it took")
    what: dict[str, Any] = {}
    hash: str


class RecordList(BaseModel):
    """Records, the newest first."""

    data: list[RecordOut]
    next_before: int | None = Field(description="give it as `before` for older ones")

    @classmethod
    def of(cls, page: Page) -> Self:
        """Renders a page."""
        return cls(data=[RecordOut(**record) for record in page.records], next_before=page.next_before)


class FindingOut(BaseModel):
    """One thing that is wrong, and where."""

    kind: FindingKind
    seq: int = Field(description="the number of the record")
    file: str
    line: int
    detail: str


class ReportOut(BaseModel):
    """What going over the chain has found."""

    whole: bool = Field(description="whether nothing was tampered with")
    records: int
    first: int
    last: int
    last_hash: str = Field(description="note it elsewhere; `lm-sandbox audit verify --expect` takes it")
    checkpoints: int
    signed: int = Field(description="the last record that a signature stands for")
    findings: list[FindingOut]
    note: str

    @classmethod
    def of(cls, report: Report) -> Self:
        """Renders a report."""
        findings = [
            FindingOut(kind=one.kind, seq=one.seq, file=one.file, line=one.line, detail=one.detail)
            for one in report.findings
        ]
        return cls(
            whole=report.whole,
            records=report.records,
            first=report.first,
            last=report.last.seq,
            last_hash=report.last.hash,
            checkpoints=report.checkpoints,
            signed=report.signed,
            findings=findings,
            note=report.note,
        )


async def get_query(  # noqa: PLR0913, PLR0917 - what may stand in the query
    kind: Annotated[str, Query(description="the kind, or how it begins, such as `command`")] = "",
    who: Annotated[str, Query(description="the principal's id or name")] = "",
    sandbox: str = "",
    request: Annotated[str, Query(description="a request's id")] = "",
    outcome: str = "",
    text: Annotated[str, Query(description="stands somewhere in it")] = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    before: Annotated[int | None, Query(ge=1)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
) -> AuditQuery:
    """Reads which records are wanted."""
    return AuditQuery(kind, who, sandbox, request, outcome, text, since, until, before, after)


@ROUTER.get("")
async def search_audit(
    caller: AdminCaller,
    deps: Deps,
    query: Annotated[AuditQuery, Depends(get_query)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> RecordList:
    """Finds records, the newest first."""
    del caller
    folder = await _written(deps)
    return RecordList.of(await anyio.to_thread.run_sync(search, folder, query, limit))


@ROUTER.get("/verification")
async def verify_audit(caller: AdminCaller, deps: Deps) -> ReportOut:
    """Goes over the whole chain and tells where it was tampered with."""
    del caller
    return ReportOut.of(await anyio.to_thread.run_sync(verify, await _written(deps)))


@ROUTER.get("/export", responses={200: {"content": {LINES: {}}}}, response_class=Response)
async def export_audit(caller: AdminCaller, deps: Deps) -> PushResponse:
    """Sends every record as it stands on the disk, oldest first, one JSON object a line."""
    del caller
    pieces = exported(await _written(deps))

    async def produce(write: Write) -> None:
        while piece := await anyio.to_thread.run_sync(partial(next, pieces, b"")):
            await write(piece)

    return PushResponse(produce, media_type=LINES)


async def _written(deps: Deps) -> Path:
    """Returns the folder once all that was added before is in it."""
    await deps.audit.flush()
    return deps.audit.folder
