"""/v1/snapshots: save the files of sandboxes, look at them, start from them, go back to them."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.driver import ChangeKind, FileChange
from lm_sandbox.sandboxes.snapshot_store import Snapshot
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.schemas import Body, Id, Name, SandboxOut

ROUTER = APIRouter(prefix="/v1", tags=["snapshots"], route_class=route_class(problem))
MOST_CHANGES = 10_000


class SnapshotCreate(Body):
    """A new snapshot."""

    name: Name | None = None


class SnapshotOut(BaseModel):
    """The saved files of a sandbox."""

    id: str
    name: str
    sandbox: str = Field(description="what it was made of, which may be gone")
    image: str | None = Field(description="what its files are on top of; null for the server's default")
    size_bytes: int
    created_at: datetime

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Renders a snapshot."""
        return cls(
            id=snapshot.id,
            name=snapshot.name,
            sandbox=snapshot.sandbox,
            image=snapshot.image,
            size_bytes=snapshot.size_bytes,
            created_at=snapshot.created_at,
        )


class SnapshotList(BaseModel):
    """A page of snapshots; `next_after` goes into `after` for the next one."""

    data: list[SnapshotOut]
    next_after: str | None


class RestoreCreate(Body):
    """Where to go back to."""

    snapshot: Id


class ChangeOut(BaseModel):
    """A file that is not as it was."""

    kind: ChangeKind
    path: str

    @classmethod
    def of(cls, change: FileChange) -> Self:
        """Renders a change; a name that is no UTF-8 shows U+FFFD."""
        path = change.path.encode(errors="surrogateescape").decode(errors="replace")
        return cls(kind=change.kind, path=path)


class ChangeList(BaseModel):
    """What has changed; `truncated` where there is more than is listed."""

    data: list[ChangeOut]
    truncated: bool


@ROUTER.post("/sandboxes/{sandbox_id}/snapshots", status_code=201)
async def create_snapshot(
    sandbox_id: str, body: SnapshotCreate, caller: SandboxCaller, deps: Deps
) -> SnapshotOut:
    """Saves the files as they are at one moment; processes are halted meanwhile."""
    return SnapshotOut.of(await deps.snapshots.create(caller, sandbox_id, body.name))


@ROUTER.post("/sandboxes/{sandbox_id}/restore")
async def restore_snapshot(
    sandbox_id: str, body: RestoreCreate, caller: SandboxCaller, deps: Deps
) -> SandboxOut:
    """Ends every process and puts the files of a snapshot in the place of the sandbox's own."""
    return SandboxOut.of(await deps.snapshots.restore(caller, sandbox_id, body.snapshot))


@ROUTER.get("/sandboxes/{sandbox_id}/changes")
async def list_changes(
    sandbox_id: str,
    since: Annotated[str, Query()],
    caller: SandboxCaller,
    deps: Deps,
    until: Annotated[
        str | None, Query(description="a later snapshot, instead of the files as they are")
    ] = None,
) -> ChangeList:
    """Tells which files are not as they are in the snapshot `since`: now, or in the snapshot `until`."""
    found = await deps.snapshots.changes(caller, sandbox_id, since, until)
    rendered = [
        ChangeOut(
            kind=change.kind, path=change.path.encode(errors="surrogateescape").decode(errors="replace")
        )
        for change in found[:MOST_CHANGES]
    ]
    return ChangeList(data=rendered, truncated=len(found) > MOST_CHANGES)


@ROUTER.get("/snapshots")
async def list_snapshots(
    caller: SandboxCaller,
    deps: Deps,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> SnapshotList:
    """Lists your snapshots, oldest first."""
    page, more = await deps.snapshots.page(caller, after, limit)
    rendered = [SnapshotOut.of(snapshot) for snapshot in page]
    return SnapshotList(data=rendered, next_after=page[-1].id if more else None)


@ROUTER.get("/snapshots/{snapshot_id}")
async def get_snapshot(snapshot_id: str, caller: SandboxCaller, deps: Deps) -> SnapshotOut:
    """Tells about a snapshot."""
    return SnapshotOut.of(await deps.snapshots.find(caller, snapshot_id))


@ROUTER.delete("/snapshots/{snapshot_id}", status_code=204)
async def delete_snapshot(snapshot_id: str, caller: SandboxCaller, deps: Deps) -> None:
    """Removes a snapshot; sandboxes that started from it are not touched."""
    await deps.snapshots.delete(caller, snapshot_id)
