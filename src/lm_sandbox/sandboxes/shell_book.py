"""The shells of one sandbox."""

from lm_sandbox.errors import QuotaReached, ShellNotFound
from lm_sandbox.sandboxes.paging import page_of
from lm_sandbox.sandboxes.shell import Shell


class ShellBook:
    """Knows the shells of one sandbox by their ids.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._shells: dict[str, Shell] = {}

    def add(self, shell: Shell) -> None:
        """Enters a shell.

        Raises:
            QuotaReached: there are as many as may be.
        """
        if len(self._shells) >= self._most:
            raise QuotaReached(f"The sandbox has {self._most} shells, the most it may; delete one.")
        self._shells[shell.id] = shell

    def enter(self, shell: Shell) -> None:
        """Enters one that an earlier server has left."""
        self._shells[shell.id] = shell

    def find(self, shell_id: str) -> Shell:
        """Returns the shell of this id.

        Raises:
            ShellNotFound: there is none.
        """
        shell = self._shells.get(shell_id)
        if shell is None:
            raise ShellNotFound(f"The sandbox has no shell {shell_id!r}; make one, or list those it has.")
        return shell

    def page(self, after: str | None, limit: int) -> tuple[list[Shell], bool]:
        """Lists them, oldest first, from the one after `after` on, and tells whether there are more."""
        return page_of(list(self._shells.values()), after, limit)

    def remove(self, shell: Shell) -> None:
        """Takes a shell out."""
        self._shells.pop(shell.id, None)

    async def drop(self) -> None:
        """Forgets all of them; the sandbox is gone."""
        shells, self._shells = self._shells, {}
        for shell in shells.values():
            await shell.drop()
