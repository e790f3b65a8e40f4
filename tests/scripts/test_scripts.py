"""The shell entry points, by their BATS tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

SUITE = Path(__file__).with_name("scripts.bats")


@pytest.mark.timeout(300)
def test_the_shell_entry_points_do_as_their_bats_tests_say() -> None:
    if shutil.which("bats") is None:
        pytest.skip("bats is missing: run scripts/system-packages test")
    done = subprocess.run(["bats", "--tap", SUITE], capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok ") == SUITE.read_text().count("\n@test ")
