"""/v1/images: what sandboxes can be made of."""

import re
from datetime import datetime
from typing import Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.images import ImageKind, Listed
from lm_sandbox.surfaces.deps import AdminCaller, Deps, SandboxCaller
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.files import RAW
from lm_sandbox.surfaces.native.transfers import receive_body

ROUTER = APIRouter(prefix="/v1/images", tags=["images"], route_class=route_class(problem))
# What is sent to these goes to disk as it comes, and `sandbox.images_mib` bounds it.
STREAMED = re.compile(r"PUT /v1/images/[^/]+")


class ImageOut(BaseModel):
    """An image."""

    name: str
    kind: ImageKind = Field(description="the host's own system, a folder of the settings, or imported")
    digest: str | None = Field(description="of an imported one")
    size_bytes: int | None = Field(description="what the files of an imported one have")
    created_at: datetime | None = Field(description="when it was imported")

    @classmethod
    def of(cls, listed: Listed) -> Self:
        """Renders an image."""
        image = listed.imported
        return cls(
            name=listed.name,
            kind=listed.kind,
            digest=image and f"sha256:{image.digest}",
            size_bytes=image and image.size_bytes,
            created_at=image and datetime.fromisoformat(image.created_at),
        )


class ImageList(BaseModel):
    """Every image."""

    data: list[ImageOut]


@ROUTER.get("")
async def list_images(caller: SandboxCaller, deps: Deps) -> ImageList:
    """Lists what sandboxes can be made of; the driver may know more by itself."""
    return ImageList(data=[ImageOut.of(listed) for listed in await deps.images.all(caller)])


@ROUTER.put("/{name}", status_code=201, openapi_extra=RAW)
async def import_image(name: str, caller: AdminCaller, deps: Deps, request: Request) -> ImageOut:
    """Imports the image that is sent: an OCI or Docker archive, or a root file system, as a tar file."""
    async with deps.images.receive(caller, name) as incoming:
        await receive_body(request, incoming.write)
        image = await incoming.commit()
    return ImageOut.of(Listed(image.name, ImageKind.IMPORTED, image))


@ROUTER.delete("/{name}", status_code=204)
async def remove_image(name: str, caller: AdminCaller, deps: Deps) -> None:
    """Removes an imported image that no sandbox is made of."""
    await deps.images.remove(caller, name)
