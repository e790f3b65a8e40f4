from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.sandboxes.output import Capture


@given(st.lists(st.binary(max_size=50)), st.integers(2, 60))
def test_keeps_both_ends_and_counts_the_rest(pieces: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for piece in pieces:
        capture.write(piece)
    whole = b"".join(pieces)
    assert capture.total == len(whole)
    if len(whole) <= limit:
        assert capture.bytes() == whole
        assert capture.left_out == 0
    else:
        head, _, tail = capture.bytes().partition(f"\n[... {capture.left_out} bytes left out ...]\n".encode())
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len(head) + len(tail) + capture.left_out == len(whole)
        assert len(head) + len(tail) <= limit


def test_memory_stays_bounded_whatever_is_written() -> None:
    capture = Capture(1000)
    for _ in range(1000):
        capture.write(b"x" * 4096)
    assert len(capture.bytes()) < 1100
    assert len(capture._tail) <= 2 * 500 + 4096
