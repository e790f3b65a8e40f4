"""Tells of what a sandbox is refused, though it may try to drown everything else in refusals."""

from collections.abc import Callable
from time import monotonic

from lm_sandbox.sandboxes.events import Event, EventKind, Events
from lm_sandbox.telemetry.happenings import ORIGIN, EgressNoted, Origin, Tell

MOST_A_MINUTE = 60
MINUTE_S = 60.0


class EgressWitness:
    """Tells for one sandbox: of every change, and of so many refusals a minute; the others are counted.

    Args:
        tell: Who listens.
        sandbox: Its id.
        owner: The id of its owner.
        clock: Seconds that only go up.
    """

    def __init__(self, tell: Tell, sandbox: str, owner: str, clock: Callable[[], float] = monotonic) -> None:
        self._tell = tell
        self._sandbox = sandbox
        self._owner = owner
        self._clock = clock
        self._allowed = float(MOST_A_MINUTE)
        self._at = clock()
        self._left_out = 0

    def __call__(self, event: Event) -> None:
        """Tells of an event, or counts it."""
        denied = event.kind is EventKind.EGRESS_DENIED
        if denied and not self._may_tell():
            self._left_out += 1
            return
        noted = EgressNoted(
            who=self._owner,
            # What a program inside tries belongs to no request, though its proxy was opened by one.
            origin=Origin() if denied else ORIGIN.get(),
            sandbox=self._sandbox,
            decision="denied" if denied else "changed",
            subject=event.subject,
            detail=event.detail,
            left_out=self._left_out if denied else 0,
        )
        self._left_out = 0 if denied else self._left_out
        self._tell(noted)

    def _may_tell(self) -> bool:
        now = self._clock()
        self._allowed = min(MOST_A_MINUTE, self._allowed + (now - self._at) * MOST_A_MINUTE / MINUTE_S)
        self._at = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True


def told_events(tell: Tell, sandbox: str, owner: str) -> Events:
    """Makes the events of a sandbox whose refusals are told."""
    return Events(tell=EgressWitness(tell, sandbox, owner))
