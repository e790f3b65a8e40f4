"""What a killed server has noted is there as a whole, before or after."""

import os
from datetime import UTC, datetime

import pytest

from lm_sandbox.sandboxes.notebook import Notebook
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.process import Exit
from lm_sandbox.sandboxes.shell_notes import HELD_BYTES, About, Now, ShellNotes
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec
from lm_sandbox.sandboxes.terminal_notes import TerminalNotes
from lm_sandbox.sandboxes.user import User

ROOMS = (100, 10)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def copy(notebook: Notebook) -> int:
    """What another server gets."""
    return os.dup(notebook.file)


def test_pages_are_read_by_another_as_they_were_written_last() -> None:
    notebook = Notebook.new("test", ROOMS)
    notebook.write(0, b"one")
    notebook.write(0, b"two, longer")
    notebook.write(1, b"")
    notebook.write_leaf(b"x" * 100_000)
    other = Notebook(copy(notebook), ROOMS)
    assert (other.read(0), other.read(1), other.leaf()) == (b"two, longer", b"", b"x" * 100_000)
    other.write(0, b"three")
    other.write_leaf(b"")
    third = Notebook(copy(other), ROOMS)
    assert (third.read(0), third.leaf()) == (b"three", b"")
    for one in (notebook, other, third):
        one.close()
        one.close()


def test_a_page_that_was_half_written_is_as_it_was_before() -> None:
    notebook = Notebook.new("test", ROOMS)
    notebook.write(0, b"before")
    # All that a killed writer can have done without having come to the end.
    os.pwrite(notebook.file, b"aft", notebook._places[0] + ROOMS[0] * (1 - notebook._entries[0][0]))
    other = Notebook(copy(notebook), ROOMS)
    assert other.read(0) == b"before"
    for one in (notebook, other):
        one.close()


def test_a_page_takes_no_more_than_its_room_and_a_closed_one_nothing() -> None:
    notebook = Notebook.new("test", ROOMS)
    with pytest.raises(ValueError, match="page 1 takes 10 bytes"):
        notebook.write(1, b"x" * 11)
    notebook.close()
    notebook.write(1, b"x")
    notebook.write_leaf(b"x")


def test_the_notes_of_a_shell_are_read_as_they_were_written() -> None:
    notes = ShellNotes.new(About({"A": "\udcff"}, User.ROOT, NOON), "/a\udcff")
    notes.note(number=3, bash=2, past=(1,), busy=True, command="cmd_1", status=4, since="1.2")
    notes.hold(Stream.STDOUT, b"x" * HELD_BYTES)
    notes.hold(Stream.STDOUT, b"y")
    notes.note_state(b"A=1")
    other = ShellNotes.load(copy(notes.notebook))
    assert other.about == notes.about
    assert other.now == Now("/a\udcff", 2, (1,), 3, "1.2", busy=True, command="cmd_1", status=4)
    assert other.state == b"A=1"
    assert other.take(Stream.STDOUT) == b"x" * (HELD_BYTES - 1) + b"y"
    assert other.take(Stream.STDERR) == b""
    third = ShellNotes.load(copy(notes.notebook))
    assert third.take(Stream.STDOUT) == b""
    for one in (notes, other, third):
        one.notebook.close()


def test_a_folder_whose_name_has_no_room_does_not_break_a_shell() -> None:
    notes = ShellNotes.new(About({}, User.SANDBOX, NOON), "/" + "\udcff" * 20_000)
    other = ShellNotes.load(copy(notes.notebook))
    assert other.now.cwd == "/"
    notes.notebook.close()
    other.notebook.close()


def test_the_notes_of_a_terminal_are_read_as_they_were_written() -> None:
    spec = TerminalSpec(("a", "\udcff"), "/tmp", {"SECRET": "x"}, TerminalSize(1, 2), User.ROOT, "term_1")
    notes = TerminalNotes.new(spec, NOON)
    notes.note(TerminalSize(3, 4), Exit(None, 9))
    other = TerminalNotes.load("term_1", copy(notes.notebook))
    assert (other.size, other.exited, other.started_at) == (TerminalSize(3, 4), Exit(None, 9), NOON)
    assert (other.spec.argv, other.spec.cwd, other.spec.user) == (spec.argv, "/tmp", User.ROOT)
    assert not other.spec.env
    for one in (notes, other):
        one.notebook.close()


def test_what_was_never_begun_is_told_from_what_was() -> None:
    for load in (ShellNotes.load, lambda file: TerminalNotes.load("x", file)):
        with pytest.raises(ValueError, match="Expecting value"):
            load(os.memfd_create("empty"))
