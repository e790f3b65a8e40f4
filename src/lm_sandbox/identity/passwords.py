"""Passwords: what a new one must be like, and Argon2id (RFC 9106), which makes each guess costly."""

import unicodedata

import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lm_sandbox.config.access import PasswordSettings
from lm_sandbox.errors import Invalid
from lm_sandbox.identity.queueing import FairQueue

LONGEST = 1024
# Each takes tens of MiB: with these, what passwords take at once is bounded.
AT_ONCE = 2
MOST_WAITING = 64
# A password with as few different characters as this is no secret.
FEWEST_DIFFERENT = 4
# Shorter ones are in many a password by chance.
SHORTEST_NAME = 4


class Passwords:
    """Hashes passwords and compares them, a few at once; who waits does so in turn with others.

    Args:
        settings: What a new one must be like, and what a comparison costs.
    """

    def __init__(self, settings: PasswordSettings) -> None:
        self._settings = settings
        self._hasher = PasswordHasher(time_cost=settings.rounds, memory_cost=settings.memory_kib)
        self._turns = FairQueue(AT_ONCE, MOST_WAITING, "passwords to be checked")
        self._nobodys = ""

    def check(self, password: str, name: str) -> None:
        """Lets a password that somebody has chosen be one.

        Raises:
            Invalid: it is too short, too long, or too easily guessed.
        """
        plain, shortest = _normal(password), self._settings.shortest
        if not shortest <= len(plain) <= LONGEST:
            raise Invalid(f"A password has {shortest} to {LONGEST} characters.", field="password")
        named = len(name) >= SHORTEST_NAME and name.casefold() in plain.casefold()
        if len(set(plain)) < FEWEST_DIFFERENT or named:
            raise Invalid(
                "This password is too easily guessed: it repeats itself, or has the name in it.",
                field="password",
            )

    async def hash(self, password: str, *, place: str = "") -> str:
        """Returns what is kept of a password.

        Raises:
            NoCapacity: too many wait.
        """
        async with self._turns.turn(place):
            return await anyio.to_thread.run_sync(self._hasher.hash, _normal(password))

    async def matches(self, kept: str, password: str, *, place: str = "") -> bool:
        """Whether a password is the one that was kept; takes as long where none was.

        Raises:
            NoCapacity: too many wait.
        """
        plain = _normal(password[: LONGEST + 1])
        async with self._turns.turn(place):
            return await anyio.to_thread.run_sync(self._compare, kept, plain)

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed at another cost than the settings ask for now."""
        return self._hasher.check_needs_rehash(kept)

    def _compare(self, kept: str, plain: str) -> bool:
        if not self._nobodys:
            self._nobodys = self._hasher.hash("of nobody")
        try:
            self._hasher.verify(kept or self._nobodys, plain)
        except (VerificationError, InvalidHashError):
            return False
        return bool(kept)


def _normal(password: str) -> str:
    """What looks the same on two keyboards is the same (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
