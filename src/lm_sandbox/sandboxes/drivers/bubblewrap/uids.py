"""Host user ids for sandboxes: one each, never shared by two servers on one host."""

import socket
from random import Random, SystemRandom

from lm_sandbox.errors import NoCapacity

FIRST = 1_818_000_000
COUNT = 100_000
TRIES = 1000


class UidPool:
    """Leases ids; a lease is an abstract socket, so it ends with the process that holds it.

    Args:
        rng: Where to start looking.
    """

    def __init__(self, rng: Random | None = None) -> None:
        self._rng = rng or SystemRandom()
        self._leases: dict[int, socket.socket] = {}

    def lease(self) -> int:
        """Takes an id that nobody else on this host has.

        Raises:
            NoCapacity: none was found.
        """
        for _ in range(TRIES):
            uid = FIRST + self._rng.randrange(COUNT)
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


def _hold(uid: int) -> socket.socket | None:
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0lm-sandbox-uid-{uid}")
    except OSError:
        held.close()
        return None
    return held
