"""What a terminal keeps of what it has shown."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.sandboxes.inside.scroll_back import LOOK_BYTES, Recording, ScrollBack


def test_all_is_kept_while_there_is_room() -> None:
    kept = ScrollBack(100)
    kept.write(b"one\r\n")
    kept.write(b"two\r\n")
    assert kept.replay() == kept.read(0, 100) == b"one\r\ntwo\r\n"
    assert (kept.start, kept.end) == (0, 10)
    assert kept.read(5, 3) == b"two"


def test_the_oldest_goes_up_to_the_end_of_a_line() -> None:
    kept = ScrollBack(10)
    kept.write(b"a line\r\nanother\r\n")
    assert kept.replay() == b"another\r\n"
    assert kept.start == 8


def test_nothing_begins_inside_a_sequence() -> None:
    kept = ScrollBack(30)
    kept.write(b"\x1b[38;5;196mred\x1b[0m and \x1b[32mgreen\x1b[0m")
    assert kept.replay() == b"\x1b[0m and \x1b[32mgreen\x1b[0m"


def test_nothing_begins_inside_the_end_of_a_string() -> None:
    kept = ScrollBack(14)
    kept.write(b"\x1b]0;a title\x1b\\text\x1b[1mbold")
    assert kept.replay() == b"\x1b[1mbold"


def test_nothing_begins_inside_a_character() -> None:
    for limit in range(1, 12):
        kept = ScrollBack(limit)
        kept.write("äöü€😀".encode())
        kept.replay().decode()


def test_modes_that_were_set_before_are_set_again() -> None:
    kept = ScrollBack(20)
    kept.write(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?2004l\x1b[?9999h")
    kept.write(b"x" * 30 + b"\n" + b"y" * 18)
    assert kept.replay() == b"\x1b[?1049h\x1b[?25l\x1b[?2004l" + b"y" * 18
    kept.write(b"\x1bc" + b"z" * 30 + b"\nend")
    kept.write(b"\n" + b"w" * 20)
    assert b"\x1b" not in kept.replay()


def test_several_modes_of_one_sequence_are_all_known() -> None:
    kept = ScrollBack(4)
    kept.write(b"\x1b[?1000;1006hxxxx\nabc")
    assert kept.replay() == b"\x1b[?1000h\x1b[?1006habc"


@pytest.mark.parametrize(
    "question",
    [
        b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[=c", b"\x1bZ", b"\x05", b"\x1b[5n", b"\x1b[6n", b"\x1b[?6n",
        b"\x1b[?2026$p", b"\x1b[>q", b"\x1b[?u", b"\x1b[18t", b"\x1b[21t", b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\",
        b"\x1b]4;1;?\x07", b"\x1b]52;c;?\x07", b"\x1bP+q544e\x1b\\", b"\x1bP$qm\x1b\\",
    ],
)  # fmt: skip
def test_what_a_screen_would_answer_is_not_shown_again(question: bytes) -> None:
    kept = ScrollBack(1000)
    kept.write(b"before" + question + b"after")
    assert kept.replay() == b"beforeafter"
    assert question in kept.read(0, 1000)


@pytest.mark.parametrize(
    "harmless",
    [b"\x1b[2J", b"\x1b[1;31m", b"\x1b[?25h", b"\x1b]0;title\x07", b"\x1b[22;0;0t", b"\x1b[>4;2m", b"\x1b[H"],
)
def test_all_else_is_shown_as_it_was(harmless: bytes) -> None:
    kept = ScrollBack(1000)
    kept.write(b"before" + harmless + b"after")
    assert kept.replay() == b"before" + harmless + b"after"


@given(st.lists(st.binary(max_size=200)), st.integers(1, 300))
def test_it_never_keeps_more_than_it_may_nor_anything_else(pieces: list[bytes], limit: int) -> None:
    kept = ScrollBack(limit)
    whole = b"".join(pieces)
    for piece in pieces:
        kept.write(piece)
    assert kept.end == len(whole)
    assert kept.end - kept.start <= limit
    assert kept.read(kept.start, limit) == whole[kept.start :]


@given(st.text(st.characters(exclude_characters="\n\x1b", codec="utf-8"), max_size=400), st.integers(8, 100))
def test_text_is_never_cut_inside_a_character(text: str, limit: int) -> None:
    kept = ScrollBack(limit)
    kept.write(text.encode())
    kept.read(kept.start, limit).decode()


def test_a_long_stretch_without_a_good_place_is_cut_all_the_same() -> None:
    kept = ScrollBack(10 * LOOK_BYTES)
    kept.write(b"x" * 11 * LOOK_BYTES)
    assert kept.end - kept.start == 10 * LOOK_BYTES


def test_a_recording_is_read_by_another_as_it_was_written() -> None:
    first = Recording.new(1000)
    first.write(b"\x1b[?1049h\x1b[?25l")
    for number in range(500):
        first.write(b"line %d\r\n" % number)
    second = Recording.load(os.dup(first.file))
    assert (second.start, second.end, second.replay()) == (first.start, first.end, first.replay())
    assert second.replay().startswith(b"\x1b[?1049h\x1b[?25lline ")
    second.write(b"x" * 200_000)
    third = Recording.load(os.dup(second.file))
    assert third.replay() == second.replay()
    for one in (first, second, third):
        one.close()
        one.write(b"goes on without a file")


@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(1, 500))
def test_a_recording_holds_what_a_scroll_back_would(pieces: list[bytes], limit: int) -> None:
    recording, plain = Recording.new(limit), ScrollBack(limit)
    for piece in pieces:
        recording.write(piece)
        plain.write(piece)
    other = Recording.load(os.dup(recording.file))
    assert (other.start, other.end, other.replay()) == (plain.start, plain.end, plain.replay())
    recording.close()
    other.close()


def test_what_came_and_went_while_nobody_was_there_is_counted_and_told() -> None:
    recording = Recording.new(100)
    recording.write(b"seen and dropped" * 100)
    recording.leave()
    recording.leave()
    other = Recording.load(os.dup(recording.file))
    other.write(b"x" * 50)
    other.come_back()
    assert other.missed == 0
    other.leave()
    other.write(b"y" * 1000)
    other.come_back()
    assert other.missed == 900
    assert other.replay().startswith(b"[... 900 bytes left out")
    assert other.replay().endswith(b"y" * 100)
    for one in (recording, other):
        one.close()


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        Recording.load(os.memfd_create("empty"))
