"""Volumes for their owners: making, finding and removing them, and what a sandbox gets of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import Invalid, NoCapacity, VolumeNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.holders import Holders
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import AskedMount, DiskMount, VolumeMount, admit_mounts
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.volume_store import Volume, VolumeStore


@dataclass(frozen=True, slots=True)
class VolumeSelection:
    """Which volumes are listed.

    Attributes:
        name: The exact name; None takes any.
        metadata: Entries that must all be there.
    """

    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def takes(self, volume: Volume) -> bool:
        """Whether a volume is one of them."""
        return self.name in {None, volume.name} and self.metadata.items() <= volume.metadata.items()


class Volumes:
    """The volumes that principals have.

    Args:
        store: Keeps them.
        settings: How large they may be.
        shares: How much each principal may keep.
        holders: Know which are in use.
    """

    def __init__(
        self, store: VolumeStore, settings: SandboxSettings, shares: Shares, holders: Holders
    ) -> None:
        self._store = store
        self._settings = settings
        self._shares = shares
        self._holders = holders

    async def create(
        self, principal: Principal, name: str | None, size_mib: int | None, metadata: Mapping[str, str]
    ) -> Volume:
        """Makes an empty volume.

        Raises:
            Forbidden: the principal lacks the scope.
            Invalid: it would be larger than one may be.
            Conflict: the principal has one of this name.
            QuotaReached: the principal keeps as much as it may.
            NoCapacity: all volumes take as much as they may, or the disk has no room.
            Unsupported: this host cannot make file systems.
        """
        principal.require(Scope.SANDBOXES)
        size_mib = size_mib or self._settings.volume_mib
        if size_mib > self._settings.volume_mib:
            raise Invalid(
                f"size_mib may be {self._settings.volume_mib} at most on this server.", field="size_mib"
            )
        await self._shares.check_room(principal, size_mib * MIB)
        if await self._store.taken_by() + size_mib * MIB > self._settings.volumes_mib * MIB:
            raise NoCapacity("The volumes take all the disk that they may; delete some.")
        return await self._store.add(principal.id, name, size_mib * MIB, metadata)

    async def find(self, principal: Principal, named: str) -> Volume:
        """Finds one of the principal's volumes by id or name; raises as the store does."""
        return await self._store.find(principal, named)

    async def page(
        self, principal: Principal, after: str | None, limit: int, selection: VolumeSelection
    ) -> tuple[list[Volume], bool]:
        """Lists the principal's volumes, oldest first, and tells whether there are more."""
        found = await self._store.all(principal)
        return page_of([one for one in found if selection.takes(one)], after, limit)

    async def delete(self, principal: Principal, named: str) -> None:
        """Removes a volume with all that is in it.

        Raises:
            VolumeNotFound: the principal has no such volume.
            Conflict: a sandbox has it mounted.
        """
        volume = await self._store.find(principal, named)
        await self._store.remove(volume, self._holders.uses_volume)


async def resolve(
    store: VolumeStore | None, principal: Principal, asked: Sequence[AskedMount]
) -> tuple[VolumeMount, ...]:
    """Finds the volumes that a new sandbox is to have.

    Raises:
        Invalid: a path cannot be mounted on, or the principal has no such volume.
    """
    admit_mounts(asked)
    found: list[VolumeMount] = []
    for number, mount in enumerate(asked):
        place = f"mounts.{number}.volume"
        if store is None:
            raise Invalid("There are no volumes here.", field=place)
        try:
            volume = await store.find(principal, mount.volume)
        except VolumeNotFound as error:
            raise Invalid(error.message, field=place) from error
        if any(volume.id == other.id for other in found):
            raise Invalid(f"The volume {volume.name!r} is mounted twice.", field=place)
        found.append(VolumeMount(volume.id, volume.name, mount.path, mount.read_only))
    return tuple(found)


async def require_kept(store: VolumeStore | None, mounts: Sequence[VolumeMount]) -> None:
    """Looks again after its volumes when a sandbox is written down: from then on nobody removes them.

    Raises:
        Invalid: one was removed meanwhile.
    """
    if store is not None and not await store.has_all({one.id for one in mounts}):
        raise Invalid("A volume was deleted while the sandbox was made.", field="mounts")


def disks(store: VolumeStore | None, mounts: Sequence[VolumeMount]) -> tuple[DiskMount, ...]:
    """Tells a driver what to mount."""
    if store is None:
        return ()
    return tuple(DiskMount(store.disk(one.id), one.path, one.read_only) for one in mounts)
