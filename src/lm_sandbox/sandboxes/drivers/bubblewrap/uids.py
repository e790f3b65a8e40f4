"""Host user ids for sandboxes: one each, or a range, never shared by two servers on one host."""

import socket
from random import Random, SystemRandom

from lm_sandbox.errors import NoCapacity
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID
from lm_sandbox.sandboxes.inside.storage import IDS

FIRST = 1_818_000_000
COUNT = 100_000
# Above those that systemd lends to containers, and below 2**31.
FIRST_OF_RANGES = 1_900_000_000
RANGES = 3_600
TRIES = 1000


class UidPool:
    """Leases ids; a lease is an abstract socket, so it ends with the process that holds it.

    Args:
        rng: Where to start looking.
        first: The lowest id.
        count: How many can be leased.
        step: How far they are apart.
    """

    def __init__(
        self, rng: Random | None = None, *, first: int = FIRST, count: int = COUNT, step: int = 1
    ) -> None:
        self._rng = rng or SystemRandom()
        self._first, self._count, self._step = first, count, step
        self._leases: dict[int, socket.socket] = {}

    def lease(self) -> int:
        """Takes an id that nobody else on this host has.

        Raises:
            NoCapacity: none was found.
        """
        for _ in range(TRIES):
            uid = self._first + self._rng.randrange(self._count) * self._step
            if uid not in self._leases and (held := _hold(uid)) is not None:
                self._leases[uid] = held
                return uid
        raise NoCapacity("No host user id is left for another sandbox.", retry_after_s=10)

    def lease_of(self, uid: int) -> int:
        """Returns the descriptor that stands for a lease."""
        return self._leases[uid].fileno()

    def adopt(self, uid: int, fd: int) -> None:
        """Takes over the lease of another process."""
        self._leases[uid] = socket.socket(fileno=fd)

    def release(self, uid: int) -> None:
        """Gives an id back; idempotent."""
        held = self._leases.pop(uid, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Gives every id back."""
        for uid in list(self._leases):
            self.release(uid)


class Leases:
    """The host users of sandboxes, each known by the one that stands for the sandbox's own user."""

    def __init__(self) -> None:
        self._users = UidPool()
        self._ranges = UidPool(first=FIRST_OF_RANGES, count=RANGES, step=IDS)

    def lease_user(self) -> int:
        """Takes one user.

        Raises:
            NoCapacity: none was found.
        """
        return self._users.lease()

    def lease_range(self) -> int:
        """Takes as many users as a sandbox with a root of its own has; root is `SANDBOX_UID` below.

        Raises:
            NoCapacity: none were found.
        """
        return self._ranges.lease() + SANDBOX_UID

    def lease_of(self, uid: int) -> int:
        """Returns the descriptor that stands for a lease."""
        pool, first = self._pool(uid)
        return pool.lease_of(first)

    def adopt(self, uid: int, fd: int) -> None:
        """Takes over the lease of another process."""
        pool, first = self._pool(uid)
        pool.adopt(first, fd)

    def release(self, uid: int) -> None:
        """Gives a lease back; idempotent."""
        pool, first = self._pool(uid)
        pool.release(first)

    def close(self) -> None:
        """Gives all back."""
        self._users.close()
        self._ranges.close()

    def _pool(self, uid: int) -> tuple[UidPool, int]:
        return (self._users, uid) if uid < FIRST_OF_RANGES else (self._ranges, uid - SANDBOX_UID)


def _hold(uid: int) -> socket.socket | None:
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0lm-sandbox-uid-{uid}")
    except OSError:
        held.close()
        return None
    return held
