"""Snapshots of sandboxes: making them, going back to them, and what has changed since."""

import anyio

from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.driver import FileChange, SandboxDriver
from lm_sandbox.sandboxes.sandbox import Sandbox, SandboxState
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import Snapshot, SnapshotStore, new_snapshot


class Snapshots:
    """Saves the files of sandboxes, each for its owner only.

    Args:
        service: Knows the sandboxes.
        driver: Copies their files.
        store: Keeps the copies.
        shares: How much each principal may keep.
    """

    def __init__(
        self, service: SandboxService, driver: SandboxDriver, store: SnapshotStore, shares: Shares
    ) -> None:
        self._service = service
        self._driver = driver
        self._store = store
        self._shares = shares

    async def create(self, principal: Principal, sandbox_id: str, name: str | None) -> Snapshot:
        """Saves the files of a sandbox as they are at one moment; its processes are halted meanwhile.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
            Conflict: it is not in a state that has files.
            NoCapacity: there is no room for it.
            QuotaReached: the principal keeps as much as it may.
            Unsupported: this host cannot halt processes.
        """
        sandbox = self._service.get(principal, sandbox_id)
        async with sandbox.changing:
            sandbox.require(SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)
            wanted = (await self._driver.stats(sandbox.id)).disk_bytes or 0
            await self._shares.check_room(principal, wanted)
            snapshot_id, folder = await self._store.place(wanted)
            try:
                size = await self._driver.save(sandbox.id, folder)
                made = new_snapshot(snapshot_id, sandbox, name, size)
                await self._store.keep(made)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._store.drop(snapshot_id)
                raise
        return made

    async def restore(self, principal: Principal, sandbox_id: str, snapshot_id: str) -> Sandbox:
        """Ends every process of a sandbox and puts the files of a snapshot in the place of its own.

        Raises:
            SandboxNotFound: the principal has none of this id.
            SnapshotNotFound: the principal has no such snapshot.
            Gone: it was deleted.
            Conflict: it is neither running nor stopped.
            SandboxFailed: the files do not fit; the sandbox is lost.
        """
        sandbox = self._service.get(principal, sandbox_id)
        snapshot = await self._store.find(principal, snapshot_id)
        async with sandbox.changing:
            sandbox.require(SandboxState.RUNNING, SandboxState.STOPPED)
            # Nobody may use its files meanwhile: they are followed from outside.
            before, sandbox.state = sandbox.state, SandboxState.CREATING
            try:
                with sandbox.noting_failure(), self._service.in_use(sandbox):
                    await self._driver.load(sandbox.id, self._store.folder(snapshot.id))
            finally:
                if sandbox.state is SandboxState.CREATING:
                    sandbox.state = before
        return sandbox

    async def changes(
        self, principal: Principal, sandbox_id: str, snapshot_id: str, until: str | None = None
    ) -> list[FileChange]:
        """Tells which files of a sandbox are not as they are in a snapshot: now, or in a later one.

        Raises:
            SandboxNotFound: the principal has none of this id.
            SnapshotNotFound: the principal has no such snapshot.
            Gone: it was deleted.
            Unsupported: this host cannot halt processes.
        """
        sandbox = self._service.get(principal, sandbox_id)
        snapshot = await self._store.find(principal, snapshot_id)
        async with sandbox.changing:
            sandbox.require(SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)
            later = self._store.folder((await self._store.find(principal, until)).id) if until else None
            return await self._driver.changes(sandbox.id, self._store.folder(snapshot.id), later)

    async def find(self, principal: Principal, snapshot_id: str) -> Snapshot:
        """Finds one of the principal's snapshots.

        Raises:
            SnapshotNotFound: the principal has none of this id.
        """
        return await self._store.find(principal, snapshot_id)

    async def page(self, principal: Principal, after: str | None, limit: int) -> tuple[list[Snapshot], bool]:
        """Lists the principal's snapshots, oldest first, and tells whether there are more."""
        return await self._store.page(principal, after, limit)

    async def delete(self, principal: Principal, snapshot_id: str) -> None:
        """Removes a snapshot.

        Raises:
            SnapshotNotFound: the principal has none of this id.
        """
        await self._store.delete(principal, snapshot_id)
