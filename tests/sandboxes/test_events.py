from datetime import UTC, datetime

from lm_sandbox.sandboxes.events import KEPT, EventKind, Events


def test_the_same_thing_in_a_row_is_counted_and_only_the_last_are_kept() -> None:
    events = Events(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    for _ in range(3):
        events.add(EventKind.EGRESS_DENIED, "evil.test:443", "no")
    (only,) = events.after(0, 10)
    assert (only.number, only.count) == (1, 3)
    for number in range(KEPT + 5):
        events.add(EventKind.EGRESS_DENIED, f"{number}.test:443", "no")
    kept = events.after(0, 10_000)
    assert len(kept) == KEPT
    assert kept[0].subject == "5.test:443"
    assert events.after(kept[-2].number, 10) == [kept[-1]]
    assert len(events.after(0, 7)) == 7
