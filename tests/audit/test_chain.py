"""The chain: what was recorded is there, and whatever is done to it is found and located."""

import json
import os
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from lm_sandbox.audit.chain import MARK, Link, content_of, read_line, seal
from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.head import FILE, read_head
from lm_sandbox.audit.segments import segments_of
from lm_sandbox.audit.signing import PRIVATE, PublicKey, SigningKey
from lm_sandbox.audit.verification import FindingKind, Report, verify
from lm_sandbox.config.insight import AuditSettings
from tests.audit.chain_files import DAY_S, Clock, entries, lines_of, new_store, put_lines, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty records and a checkpoint in the middle: number 11."""
    store = new_store(tmp_path / "audit")
    write(store, entries(10))
    store.seal()
    write(store, entries(9))
    return tmp_path / "audit"


def found(report: Report) -> list[tuple[FindingKind, int]]:
    return [(finding.kind, finding.seq) for finding in report.findings]


def test_what_was_written_is_whole_and_reads_as_it_was_told(folder: Path) -> None:
    report = verify(folder)
    assert report.whole
    assert (report.records, report.first, report.last.seq) == (20, 1, 20)
    assert report.checkpoints == 1
    assert report.signed == 20  # The note of the end stands for those behind the checkpoint.
    record = json.loads(lines_of(folder)[2])
    assert record["what"] == {"text": "echo 2"}
    assert (record["kind"], record["who"], record["name"]) == ("command.started", "key_1", "me")


def test_only_the_servers_user_can_read_it_and_the_key(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in [folder / PRIVATE, *(segment.path for segment in segments_of(folder))]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [1, 7, 11, 19])
def test_an_altered_record_is_found_and_located(folder: Path, number: int) -> None:
    lines = lines_of(folder)
    lines[number - 1] = lines[number - 1].replace(b'"outcome":"ok"', b'"outcome":"no"')
    put_lines(folder, lines)
    assert (FindingKind.ALTERED, number) in found(verify(folder))
    [finding] = [one for one in verify(folder).findings if one.kind is FindingKind.ALTERED]
    assert finding.line == number


def test_every_byte_of_a_line_counts(folder: Path) -> None:
    lines = lines_of(folder)
    whole = lines[4]
    for at in range(0, len(whole) - 1, 7):
        lines[4] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        put_lines(folder, lines)
        assert not verify(folder).whole, at


@pytest.mark.parametrize(
    ("gone", "first"), [([0], 1), ([4], 5), ([4, 5, 6], 5), ([10], 11), ([19], 20), (range(14, 20), 15)]
)
def test_deleted_records_are_found_and_located(folder: Path, gone: list[int], first: int) -> None:
    put_lines(folder, [line for number, line in enumerate(lines_of(folder)) if number not in gone])
    assert found(verify(folder)) == [(FindingKind.MISSING, first)]


def test_records_in_another_order_are_found_and_located(folder: Path) -> None:
    lines = lines_of(folder)
    lines[3], lines[4] = lines[4], lines[3]
    put_lines(folder, lines)
    assert found(verify(folder)) == [(FindingKind.MOVED, 4)]


def test_a_record_twice_is_found(folder: Path) -> None:
    lines = lines_of(folder)
    put_lines(folder, [*lines[:6], lines[5], *lines[6:]])
    assert found(verify(folder)) == [(FindingKind.MOVED, 6)]


def test_a_line_that_is_no_record_is_found(folder: Path) -> None:
    lines = lines_of(folder)
    put_lines(folder, [*lines[:6], b"not a record\n", *lines[6:]])
    assert found(verify(folder)) == [(FindingKind.UNREADABLE, 7)]


def rewritten(lines: list[bytes], number: int) -> list[bytes]:
    """Alters a record and seals it and all behind it anew, as one could who has not the key."""
    before = read_line(lines[number - 2].rstrip(b"\n"))
    assert before is not None
    link, out = before.link, lines[: number - 1]
    for line in lines[number - 1 :]:
        record = content_of(line)
        what = {**record.get("what", {}), **({"text": "true"} if not out[number - 1 :] else {})}
        _, new = seal(Entry(record["kind"], 0, what=what), link)
        body = json.dumps({**record, "prev": link.hash, "what": what}, separators=(",", ":")).encode()[:-2]
        body = body[: body.rindex(MARK)]
        digest = sha256(body).hexdigest()
        out.append(body + MARK + digest.encode() + b'"}\n')
        link = replace(new, hash=digest)
    return out


@pytest.mark.parametrize("number", [5, 15])
def test_a_chain_that_was_sealed_anew_without_the_key_is_found(folder: Path, number: int) -> None:
    put_lines(folder, rewritten(lines_of(folder), number))
    report = verify(folder)
    assert all(read_line(line.rstrip(b"\n")) for line in lines_of(folder))
    assert {finding.kind for finding in report.findings} == {FindingKind.FORGED}
    last_good = 0 if number == 5 else 11
    assert f"from record {last_good + 1} " in report.findings[0].detail


def test_a_chain_with_another_key_is_not_the_servers(folder: Path, tmp_path: Path) -> None:
    other = SigningKey.ensure(tmp_path)
    report = verify(folder, other.public)
    assert FindingKind.FORGED in {finding.kind for finding in report.findings}
    assert verify(folder, PublicKey.read(folder / "key.pub")).whole


def test_the_end_cannot_be_cut_off_together_with_its_note(folder: Path) -> None:
    put_lines(folder, lines_of(folder)[:15])
    (folder / FILE).unlink()
    assert found(verify(folder)) == [(FindingKind.FORGED, 15)]


def test_an_older_state_put_back_whole_is_found_by_a_record_noted_elsewhere(folder: Path) -> None:
    old_lines, old_head = lines_of(folder), (folder / FILE).read_bytes()
    write(new_store(folder), entries(3))
    noted = verify(folder).last
    put_lines(folder, old_lines)
    (folder / FILE).write_bytes(old_head)
    assert verify(folder).whole
    assert found(verify(folder, expected=noted)) == [(FindingKind.MISSING, 21)]


def test_a_gap_stays_found_after_the_server_has_gone_on(folder: Path) -> None:
    put_lines(folder, lines_of(folder)[:15])
    write(new_store(folder), entries(2))
    report = verify(folder)
    assert found(report) == [(FindingKind.MISSING, 16)]
    assert "16 to 20" in report.findings[0].detail
    assert report.last.seq == 22


@pytest.mark.parametrize("torn", [b'{"seq":21,"prev":"', b'{"seq":21', b"\0" * 300])
def test_a_torn_last_line_is_repaired_and_told(folder: Path, torn: bytes) -> None:
    [segment] = segments_of(folder)
    with segment.path.open("ab") as file:
        file.write(torn)
    assert verify(folder).whole
    assert "not finished" in verify(folder).note
    write(new_store(folder), entries(1))
    report = verify(folder)
    assert report.whole
    assert report.note == ""
    repaired = json.loads(lines_of(folder)[20])
    assert repaired["kind"] == "audit.repaired"
    assert repaired["what"]["bytes"] == len(torn)
    assert report.last.seq == 22


def test_a_last_line_torn_off_after_it_was_acknowledged_is_no_accident(folder: Path) -> None:
    [segment] = segments_of(folder)
    os.truncate(segment.path, segment.size() - 10)
    assert found(verify(folder)) == [(FindingKind.MISSING, 20)]
    new_store(folder)
    assert found(verify(folder)) == [(FindingKind.MISSING, 20)]


def test_two_writers_in_turn_make_one_chain(tmp_path: Path) -> None:
    one, two = new_store(tmp_path / "audit"), new_store(tmp_path / "audit")
    for _ in range(5):
        write(one, entries(2))
        write(two, entries(3))
    assert verify(tmp_path / "audit").whole
    assert verify(tmp_path / "audit").last.seq == 25


def test_a_failed_write_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(folder)

    written = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return written(descriptor, data[:100])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            write(store, entries(1))
    write(store, entries(1))
    report = verify(folder)
    assert report.whole
    assert report.last.seq == 21


def test_retention_by_days_keeps_the_chain_verifiable(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "audit"
    store = new_store(folder, AuditSettings(keep_days=3), clock)
    for _ in range(8):
        write(store, entries(5))
        clock.now += DAY_S
    assert len(segments_of(folder)) == 8
    first = segments_of(folder)[0].path.read_bytes()
    store.prune()
    report = verify(folder)
    assert report.whole
    assert report.first > 20
    assert report.checkpoints == 2
    # What was dropped may come back from a backup, but nothing else may go.
    (folder / f"{1:018}.{'2026-01-01'}.jsonl").write_bytes(first)
    assert (FindingKind.MISSING, 6) in found(verify(folder))
    segments_of(folder)[0].path.unlink()
    segments_of(folder)[0].path.unlink()
    assert FindingKind.MISSING in {finding.kind for finding in verify(folder).findings}


def test_retention_by_size_keeps_the_chain_verifiable(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    store = new_store(folder, AuditSettings(keep_mib=2, segment_mib=1))
    for _ in range(12):
        write(store, [Entry("big", 0, what={"text": "x " * 10_000}) for _ in range(20)])
    assert sum(segment.size() for segment in segments_of(folder)) > 4 * 1024 * 1024
    store.prune()
    assert sum(segment.size() for segment in segments_of(folder)) <= 2 * 1024 * 1024
    assert verify(folder).whole
    assert new_store(folder)._link == verify(folder).last


def test_dropping_that_was_broken_off_is_no_tampering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, folder = Clock(), tmp_path / "audit"
    store = new_store(folder, AuditSettings(keep_days=3), clock)
    for _ in range(8):
        write(store, entries(5))
        clock.now += DAY_S
    killed = iter([True, False])
    unlink = Path.unlink

    def stop(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".jsonl" and not next(killed):
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            store.prune()
    report = verify(folder)
    assert report.whole
    assert report.first == 6


def test_the_note_of_the_end_is_the_keys(folder: Path) -> None:
    public = PublicKey.read(folder / "key.pub")
    head = read_head(folder, public)
    assert head == verify(folder).last
    forged = json.loads((folder / FILE).read_text()) | {"seq": 3}
    (folder / FILE).write_text(json.dumps(forged))
    assert read_head(folder, public) is None


def test_links_start_from_nothing() -> None:
    line, link = seal(Entry("a", 0), Link())
    sealed = read_line(line)
    assert sealed is not None
    assert sealed.genuine
    assert sealed.link == link
    assert read_line(line[:-1]) is None
    assert read_line(b"") is None
