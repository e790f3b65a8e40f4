"""`lm-sandbox audit`, as it is typed."""

import json
import subprocess
from pathlib import Path

import pytest

from lm_sandbox.audit.entry import Entry
from lm_sandbox.audit.segments import segments_of
from lm_sandbox.audit.verification import verify
from tests.audit.chain_files import entries, new_store, write
from tests.conftest import lm_sandbox


@pytest.fixture
def folder(command_env: dict[str, str]) -> Path:
    folder = Path(command_env["LM_SANDBOX_DATA_DIR"]) / "audit"
    store = new_store(folder)
    write(store, entries(5))
    nasty = "\x1b]0;owned\x07[red]x[/red]\nforged 9 line"
    store.append([Entry("command.started", 0, "key_2", "you", what={"text": nasty})])
    store.seal()
    return folder


def audit(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [lm_sandbox(), "audit", *arguments], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_last_records_are_shown_and_obey_no_one(command_env: dict[str, str], folder: Path) -> None:
    assert segments_of(folder)
    shown = audit(command_env, "tail", "-n", "3").stdout
    assert len(shown.splitlines()) == 3
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07[red]x[/red]\\x0aforged 9 line" in shown
    rows = [json.loads(line) for line in audit(command_env, "tail", "--json").stdout.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, 8))


def test_records_are_found(command_env: dict[str, str], folder: Path) -> None:
    assert segments_of(folder)
    found = audit(command_env, "search", "ECHO 3", "--kind", "command", "--who", "me", "--json").stdout
    assert [json.loads(line)["what"]["text"] for line in found.splitlines()] == ["echo 3"]


def test_a_whole_chain_ends_well_and_a_broken_one_does_not(command_env: dict[str, str], folder: Path) -> None:
    whole = audit(command_env, "verify")
    assert whole.returncode == 0
    expected = whole.stdout.split("--expect ")[1].strip()
    assert expected == f"7:{verify(folder).last.hash}"
    assert (
        audit(command_env, "verify", "--expect", expected, "--key", str(folder / "key.pub")).returncode == 0
    )
    assert audit(command_env, "verify", "--expect", f"6:{'0' * 64}").returncode == 1
    assert audit(command_env, "verify", "--expect", "nonsense").returncode == 1
    [segment] = segments_of(folder)
    segment.path.write_bytes(segment.path.read_bytes().replace(b"echo 2", b"echo 9"))
    broken = audit(command_env, "verify")
    assert broken.returncode == 1
    assert "Record 3 was altered" in broken.stdout
    assert json.loads(audit(command_env, "verify", "--json").stdout)["findings"][0]["seq"] == 3


def test_all_records_are_written_out(command_env: dict[str, str], folder: Path, tmp_path: Path) -> None:
    [segment] = segments_of(folder)
    assert audit(command_env, "export").stdout == segment.path.read_text()
    audit(command_env, "export", str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_bytes() == segment.path.read_bytes()


def test_without_an_audit_it_says_so(command_env: dict[str, str]) -> None:
    told = audit(command_env, "tail")
    assert told.returncode == 1
    assert "no audit yet" in told.stderr


def test_what_is_executed_without_a_server_is_recorded_too(command_env: dict[str, str]) -> None:
    subprocess.run(
        [lm_sandbox(), "exec", "echo hi"], env=command_env, check=True, capture_output=True, timeout=60
    )
    shown = audit(command_env, "search", "--kind", "command.started", "--json").stdout
    assert json.loads(shown)["what"]["text"] == "echo hi"
    assert audit(command_env, "verify").returncode == 0
