"""/v1/volumes: files that outlive the sandboxes they are mounted in."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.volume_store import Volume
from lm_sandbox.sandboxes.volumes import VolumeSelection
from lm_sandbox.surfaces.deps import Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.metadata import WantedMetadata
from lm_sandbox.surfaces.native.schemas import Body, Metadata, Name

ROUTER = APIRouter(prefix="/v1/volumes", tags=["volumes"], route_class=route_class(problem))
SMALLEST_MIB = 16


class VolumeCreate(Body):
    """A new volume, empty."""

    name: Name | None = None
    size_mib: int | None = Field(
        None,
        ge=SMALLEST_MIB,
        le=2**40,
        description="what it can hold, a little of it for its own tables; the most a volume may by default",
    )
    metadata: Metadata = Field(default_factory=dict, description="kept and given back")


class VolumeOut(BaseModel):
    """A volume."""

    id: str
    name: str
    size_bytes: int = Field(description="what it can hold, a little of it for its own tables")
    enforced: str = Field(description="what holds it to that")
    created_at: datetime
    metadata: dict[str, str]

    @classmethod
    def of(cls, volume: Volume) -> Self:
        """Renders a volume."""
        return cls(
            id=volume.id,
            name=volume.name,
            size_bytes=volume.size_bytes,
            enforced=volume.enforced,
            created_at=volume.created_at,
            metadata=dict(volume.metadata),
        )


class VolumeList(BaseModel):
    """A page of volumes; `next_after` goes into `after` for the next one."""

    data: list[VolumeOut]
    next_after: str | None


async def get_selection(metadata: WantedMetadata, name: str | None = None) -> VolumeSelection:
    """Reads which volumes are asked for."""
    return VolumeSelection(name, metadata)


@ROUTER.post("", status_code=201)
async def create_volume(body: VolumeCreate, caller: SandboxCaller, deps: Deps) -> VolumeOut:
    """Makes an empty volume; `mounts` of a new sandbox puts it in."""
    return VolumeOut.of(await deps.volumes.create(caller, body.name, body.size_mib, body.metadata))


@ROUTER.get("")
async def list_volumes(
    caller: SandboxCaller,
    deps: Deps,
    chosen: Annotated[VolumeSelection, Depends(get_selection)],
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> VolumeList:
    """Lists your volumes, oldest first."""
    page, more = await deps.volumes.page(caller, after, limit, chosen)
    rendered = [VolumeOut.of(volume) for volume in page]
    return VolumeList(data=rendered, next_after=page[-1].id if more else None)


@ROUTER.get("/{volume_id}")
async def get_volume(volume_id: str, caller: SandboxCaller, deps: Deps) -> VolumeOut:
    """Tells about a volume, by its id or its name."""
    return VolumeOut.of(await deps.volumes.find(caller, volume_id))


@ROUTER.delete("/{volume_id}", status_code=204)
async def delete_volume(volume_id: str, caller: SandboxCaller, deps: Deps) -> None:
    """Removes a volume with all that is in it; one that a sandbox has mounted stays."""
    await deps.volumes.delete(caller, volume_id)
