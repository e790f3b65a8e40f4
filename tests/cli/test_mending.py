"""`doctor --fix`: what it does to a system, here one in a folder, and what it asks before."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from lm_sandbox.cli.mending import Mender, run_here, steps_for
from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.drivers.bubblewrap.delegation import DELEGATION, DROP_IN
from lm_sandbox.sandboxes.remedies import File, Package, Run
from tests.cli.test_command_line import call

NOBODY = 65534


class Shell:
    """Runs nothing, and ends as it was told to."""

    def __init__(self, *statuses: int) -> None:
        self.ran: list[str] = []
        self._statuses = list(statuses)

    def __call__(self, argv: Sequence[str]) -> int:
        self.ran.append(" ".join(argv))
        return self._statuses.pop(0) if self._statuses else 0


def test_each_step_of_what_fails_is_taken_once() -> None:
    bad = Check("a", ok=False, detail="", remedy=DELEGATION)
    good = Check("b", ok=True, detail="", remedy=(Package("x"),))
    other = Check("c", ok=False, detail="", remedy=(*DELEGATION, Run(("true",))))
    assert steps_for([bad, good, other]) == [*DELEGATION, Run(("true",))]


def test_files_are_written_for_everybody_to_read_and_commands_run_after_them(tmp_path: Path) -> None:
    shell = Shell()
    mender = Mender(tmp_path, shell)
    assert [mender.take(step) for step in DELEGATION] == [None, None]
    place = tmp_path / DROP_IN.lstrip("/")
    assert place.read_text() == "[Service]\nDelegate=cpu cpuset io memory pids\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o644
    assert shell.ran == ["systemctl daemon-reload"]


def test_a_file_that_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    mender = Mender(tmp_path, Shell())
    step = File("/etc/a/b", "content\n")
    assert mender.take(step) is None
    before = (tmp_path / "etc/a/b").stat()
    assert mender.take(step) is None
    assert (tmp_path / "etc/a/b").stat() == before
    assert mender.take(File("/etc/a/b", "other\n")) is None
    assert [path.name for path in (tmp_path / "etc/a").iterdir()] == ["b"]


def test_no_link_is_followed_out_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "etc/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "etc/.b.part").symlink_to(tmp_path / "elsewhere")
    assert Mender(tmp_path, Shell()).take(File("/etc/b", "new")) is None
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert (tmp_path / "etc/b").read_text() == "new"
    assert not (tmp_path / "etc/b").is_symlink()


def test_a_package_that_is_not_found_is_looked_for_anew() -> None:
    shell = Shell(100, 0, 0)
    assert Mender(Path("/"), shell).take(Package("bubblewrap")) is None
    assert [line.split()[1] for line in shell.ran] == ["install", "update", "install"]
    assert shell.ran[0].endswith(" bubblewrap")


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("not a folder")
    mender = Mender(tmp_path, Shell(1, 0, 7, 3))
    assert str(tmp_path / "etc") in (mender.take(File("/etc/b", "")) or "")
    assert mender.take(Package("nothing")) == "apt-get ended with status 7"
    assert mender.take(Run(("sysctl", "--load", "x"))) == "sysctl ended with status 3"


def test_commands_are_those_of_the_system_whatever_the_path_says(tmp_path: Path) -> None:
    (tmp_path / "true").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "true").chmod(0o755)
    assert run_here(("true",), {"PATH": str(tmp_path)}) == 0
    assert run_here(("false",)) == 1
    assert run_here(("no-such-program",)) == 127


def test_a_host_that_lacks_nothing_is_left_as_it_is(command_env: dict[str, str]) -> None:
    done = call(command_env, "doctor", "--fix", "--yes")
    assert done.returncode == 0
    assert "nothing here that this could mend" in done.stdout
    assert "bubblewrap" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked")
def test_what_would_be_done_is_shown_and_not_done_without_a_yes(
    command_env: dict[str, str], tmp_path: Path
) -> None:
    done = call(command_env | {"PATH": str(tmp_path)}, "doctor", "--fix")
    assert done.returncode == 1
    assert "# apt-get install --yes bubblewrap" in done.stdout
    assert "Nobody is there to ask" in done.stderr


def test_mending_goes_with_no_other_report(command_env: dict[str, str]) -> None:
    for other in ("--json", "--security"):
        assert call(command_env, "doctor", "--fix", other).returncode == 2
