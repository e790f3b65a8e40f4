"""Which sandboxes there are, whose they are, and which were deleted."""

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import Conflict, Gone, NoCapacity, SandboxNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.admission import admit_lifetime
from lm_sandbox.sandboxes.command_book import CommandBook
from lm_sandbox.sandboxes.command_store import CommandStore
from lm_sandbox.sandboxes.driver import Enforced, SandboxId
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.sandbox import NewSandbox, Sandbox, SandboxState, Selection
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord
from lm_sandbox.sandboxes.shell_book import ShellBook

REMEMBERED_DELETIONS = 10_000
RETRY_AFTER_S = 10


class SandboxRegistry:
    """The sandboxes of one server.

    Args:
        settings: Bounds.
        spool: A folder for long outputs.
        clock: Seconds that only go up.
    """

    def __init__(self, settings: SandboxSettings, spool: Path, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._sandboxes: dict[SandboxId, Sandbox] = {}
        self._deleted: OrderedDict[SandboxId, str] = OrderedDict()

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(list(self._sandboxes.values()))

    def add(self, principal: Principal, new: NewSandbox) -> Sandbox:
        """Enters a sandbox that is about to be made.

        Raises:
            Conflict: the principal has one of this name.
            Invalid: a time is over the server's.
            NoCapacity: as many as allowed exist.
        """
        if len(self._sandboxes) >= self._settings.max_sandboxes:
            raise NoCapacity(
                f"All {self._settings.max_sandboxes} sandboxes are in use; delete one or wait.",
                retry_after_s=RETRY_AFTER_S,
            )
        if new.name is not None:
            self.check_name(principal.id, new.name)
        sandbox_id = SandboxId(f"sb_{secrets.token_hex(8)}")
        now = Instant.now()
        sandbox = Sandbox(
            id=sandbox_id,
            owner=principal.id,
            name=new.name or sandbox_id,
            metadata=dict(new.metadata),
            made=now,
            used=now,
            recorded=now,
            born=self._clock(),
            idle_since=self._clock(),
            lifetime=admit_lifetime(new.lifetime, self._settings),
            image=new.image,
            secrets=new.secrets,
            commands=self._book(sandbox_id),
            shells=ShellBook(self._settings.shells),
        )
        self._sandboxes[sandbox_id] = sandbox
        return sandbox

    def picture(self, record: SandboxRecord, enforced: Enforced | None) -> Sandbox:
        """Returns a sandbox as another server told it; it has failed where nothing holds it any more."""
        now = Instant.now()
        return Sandbox(
            id=SandboxId(record.id),
            owner=record.owner,
            name=record.name,
            metadata=record.metadata,
            made=record.made,
            used=record.used,
            recorded=record.used,
            born=self._clock() - now.since(record.made),
            idle_since=self._clock() - now.since(record.used),
            lifetime=record.lifetime,
            image=record.image,
            limits=record.limits,
            gpus=record.gpus,
            mounts=record.mounts,
            commands=self._book(record.id),
            shells=ShellBook(self._settings.shells),
            state=SandboxState.FAILED if enforced is None else record.state,
            enforced=enforced,
            egress=record.egress,
            counted_to=self._clock(),
        )

    def restore(self, sandbox: Sandbox) -> None:
        """Enters a sandbox that was another server's."""
        self._sandboxes[sandbox.id] = sandbox

    def has(self, sandbox_id: str) -> bool:
        """Whether it is here, or known to be gone."""
        return sandbox_id in self._sandboxes or sandbox_id in self._deleted

    def _book(self, sandbox_id: str) -> CommandBook:
        store = CommandStore(self._spool / sandbox_id)
        return CommandBook(self._spool, store, self._settings.spool_mib * MIB)

    def states(self) -> dict[SandboxState, int]:
        """Counts the sandboxes by state."""
        found = Counter(sandbox.state for sandbox in self)
        return {state: found[state] for state in SandboxState}

    def find(self, principal: Principal, sandbox_id: str) -> Sandbox:
        """Finds one of the principal's sandboxes.

        Raises:
            Forbidden: the principal lacks the scope.
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
        """
        principal.require(Scope.SANDBOXES)
        key = SandboxId(sandbox_id)
        sandbox = self._sandboxes.get(key)
        if sandbox is not None and principal.owns(sandbox.owner):
            return sandbox
        if key in self._deleted and principal.owns(self._deleted[key]):
            raise Gone(f"The sandbox {sandbox_id} was deleted.")
        raise SandboxNotFound(f"There is no sandbox {sandbox_id!r}.")

    def page(
        self,
        principal: Principal,
        selection: Selection,
        after: str | None,
        limit: int,
        elsewhere: Iterable[SandboxRecord] = (),
    ) -> tuple[list[Sandbox], bool]:
        """Lists the principal's sandboxes, oldest first, and tells whether there are more.

        Args:
            principal: Whose.
            selection: Which of them.
            after: The id that ended the page before.
            limit: How many.
            elsewhere: Those that other processes have.
        """
        principal.require(Scope.SANDBOXES)
        others = [self.picture(one, one.enforced) for one in elsewhere if one.id not in self._sandboxes]
        found = [*self, *others]
        if others:
            found.sort(key=lambda one: (one.created_at, one.id))
        return page_of(
            [one for one in found if principal.owns(one.owner) and selection.takes(one)], after, limit
        )

    def count(self, owner: str) -> int:
        """Tells how many an owner has."""
        return sum(sandbox.owner == owner for sandbox in self._sandboxes.values())

    def check_name(self, owner: str, name: str) -> None:
        """Refuses a name that the owner has given already.

        Raises:
            Conflict: another sandbox has it.
        """
        for other in self:
            if other.owner == owner and other.name == name:
                raise Conflict(f"You have a sandbox named {name!r} already: {other.id}.")

    def forget(self, sandbox: Sandbox) -> bool:
        """Takes out one that never came up, and tells whether it was there."""
        return self._sandboxes.pop(sandbox.id, None) is not None

    def bury(self, sandbox: Sandbox) -> bool:
        """Takes out one that is deleted, remembers that it was there, and tells whether it was."""
        if not self.forget(sandbox):
            return False
        self.note_deleted(sandbox.id, sandbox.owner)
        return True

    def note_deleted(self, sandbox_id: SandboxId, owner: str) -> None:
        """Remembers that there was one."""
        self._deleted[sandbox_id] = owner
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
