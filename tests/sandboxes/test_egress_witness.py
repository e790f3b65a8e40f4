"""What a sandbox is refused is told, but it cannot drown everything else in refusals."""

from lm_sandbox.sandboxes.egress_witness import MOST_A_MINUTE, EgressWitness
from lm_sandbox.sandboxes.events import EventKind, Events
from lm_sandbox.telemetry.happenings import EgressNoted, Happening


def test_refusals_are_bounded_and_those_left_out_are_counted() -> None:
    told: list[Happening] = []
    now = 0.0
    events = Events(tell=EgressWitness(told.append, "sb_1", "key_1", clock=lambda: now))
    for number in range(1000):
        events.add(EventKind.EGRESS_DENIED, f"evil{number}.example:443", "not allowed")
    assert len(told) == MOST_A_MINUTE
    now = 30.0
    events.add(EventKind.EGRESS_DENIED, "again.example:443", "not allowed")
    last = told[-1]
    assert isinstance(last, EgressNoted)
    assert (last.subject, last.left_out, last.who) == ("again.example:443", 1000 - MOST_A_MINUTE, "key_1")


def test_changes_are_told_however_many_refusals_there_are() -> None:
    told: list[Happening] = []
    events = Events(tell=EgressWitness(told.append, "sb_1", "key_1", clock=lambda: 0.0))
    for number in range(1000):
        events.add(EventKind.EGRESS_DENIED, f"evil{number}.example:443", "not allowed")
    events.add(EventKind.EGRESS_CHANGED, "open", "The network is now: open.")
    last = told[-1]
    assert isinstance(last, EgressNoted)
    assert (last.decision, last.left_out) == ("changed", 0)


def test_the_same_refusal_in_a_row_is_told_once() -> None:
    told: list[Happening] = []
    events = Events(tell=EgressWitness(told.append, "sb_1", "key_1"))
    for _ in range(5):
        events.add(EventKind.EGRESS_DENIED, "evil.example:443", "not allowed")
    assert len(told) == 1
