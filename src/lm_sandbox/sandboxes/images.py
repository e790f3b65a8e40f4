"""Images: what sandboxes can be made of. Who may make sandboxes sees them, an admin changes them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from lm_sandbox.errors import Conflict, NoCapacity, Unsupported
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.image_store import Image, ImageStore
from lm_sandbox.sandboxes.service import SandboxService

ARCHIVE = "archive"


class ImageKind(StrEnum):
    """Where an image comes from."""

    HOST = "host"
    FOLDER = "folder"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Listed:
    """An image that sandboxes can be made of; `imported` where that is where it comes from."""

    name: str
    kind: ImageKind
    imported: Image | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The images that there are without any being imported.

    Attributes:
        given: Their names.
        obstacle: Why there are none at all, for people; None where there can be.
    """

    given: Mapping[str, ImageKind]
    obstacle: str | None = None


class Incoming:
    """An archive that is on its way.

    Args:
        name: What the image is to be called.
        place: A folder of its own.
        file: The archive in it, open.
        store: Where it goes.
    """

    def __init__(self, name: str, place: Path, file: BinaryIO, store: ImageStore) -> None:
        self._name = name
        self._place = place
        self._store = store
        self._room = store.room()
        self._file = file

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Takes what has come.

        Raises:
            NoCapacity: it is more than images may have.
        """
        self._room -= sum(map(len, pieces))
        if self._room < 0:
            raise NoCapacity("The images take all the disk that they may; remove some.")
        try:
            await anyio.to_thread.run_sync(self._file.writelines, pieces)
        except OSError as error:
            raise NoCapacity("There is no room for the image.") from error

    async def commit(self) -> Image:
        """Unpacks it, when all has come, and enters the image; raises as `ImageStore.add` does."""
        self._file.close()
        archive = self._place / ARCHIVE
        # Not to be abandoned: what is left of it is removed next.
        return await anyio.to_thread.run_sync(self._store.add, self._name, archive, self._place)

    def close(self) -> None:
        """Removes what is left of it."""
        self._file.close()
        self._store.drop(self._place)


class Images:
    """Lists, imports and removes images.

    Args:
        store: Keeps those that were imported.
        offer: Those that are there anyway.
        service: Knows which are in use.
    """

    def __init__(self, store: ImageStore, offer: Offer, service: SandboxService) -> None:
        self._store = store
        self._offer = offer
        self._service = service

    async def all(self, principal: Principal) -> list[Listed]:
        """Lists the images that sandboxes can be made of here; none where they cannot.

        Raises:
            Forbidden: the principal lacks the scope.
        """
        principal.require(Scope.SANDBOXES)
        if self._offer.obstacle is not None:
            return []
        given = [Listed(name, kind) for name, kind in sorted(self._offer.given.items())]
        stored = await anyio.to_thread.run_sync(self._store.all)
        return [*given, *(Listed(image.name, ImageKind.IMPORTED, image) for image in stored)]

    @asynccontextmanager
    async def receive(self, principal: Principal, name: str) -> AsyncIterator[Incoming]:
        """Takes an archive with an image; without `commit` nothing stays of it.

        Raises:
            Forbidden: the principal is no admin.
            Invalid: no image can have this name.
            Conflict: another image has it.
            Unsupported: there are no images here.
        """
        principal.require(Scope.ADMIN)
        if self._offer.obstacle is not None:
            raise Unsupported(f"{self._offer.obstacle}.")
        self._store.check_name(name)
        place = await anyio.to_thread.run_sync(self._store.place)
        file = await anyio.to_thread.run_sync((place / ARCHIVE).open, "wb")
        incoming = Incoming(name, place, file, self._store)
        try:
            yield incoming
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(incoming.close)

    async def remove(self, principal: Principal, name: str) -> None:
        """Removes an imported image; snapshots of sandboxes that were made of it can no longer be used.

        Raises:
            Forbidden: the principal is no admin.
            ImageNotFound: no imported image has this name.
            Conflict: a sandbox is made of it.
        """
        principal.require(Scope.ADMIN)
        if await self._service.holders.uses_image(name):
            raise Conflict(f"Sandboxes are made of the image {name!r}; delete them first.")
        await anyio.to_thread.run_sync(self._store.remove, name)
