"""The bubblewrap driver in a container of a real engine: what it takes, and what is said where something is missing."""

import json
import subprocess
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.drivers.bubblewrap.container import (
    FLAGS,
    HOST_REFUSES,
    Container,
    Hold,
    Kind,
    holds,
    lacking_rights,
)
from tests.docker_engine import IMAGE

LIMIT_S = 100
OPEN = ("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined")
WHOLE = (
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "SYS_PTRACE",
    "--cgroupns=host",
    "-v",
    "/sys/fs/cgroup:/sys/fs/cgroup",
)
SCRIPT = """
import asyncio, json, sys
from lm_sandbox.errors import DriverUnavailable
from lm_sandbox.sandboxes.commands import CommandRequest, run_command
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver

BOX = SandboxId("sb_contained")

async def main():
    driver = BubblewrapDriver(require_cgroups=sys.argv[1] == "required")
    report = {"fixes": {check.name: check.fix for check in driver.checks() if not check.ok}}
    try:
        async with driver:
            enforced = await driver.create(BOX, SandboxSpec())
            report["host_uid"], report["limits"] = enforced.host_uid, dict(enforced.limits)
            request = CommandRequest(("bash", "-c", "id -u; ls /checkout /proc/1/root"), 20, 100_000, 1 << 20)
            report["said"] = (await run_command("c", await driver.spawn(BOX, request.spec()), request)).stdout.decode()
    except DriverUnavailable as error:
        report["refused"] = str(error)
    print(json.dumps(report))

asyncio.run(main())
"""


def contained(
    engine: Path, packages: Path, cgroups: str, *flags: str
) -> dict[str, dict[str, str] | str | int]:
    """Tells what the driver finds and does in a container that is started so."""
    run = [
        "docker",
        "--host",
        f"unix://{engine}",
        "run",
        "--rm",
        "--network",
        "none",
        "--cgroup-parent",
        f"/{engine.parent.name}",
    ]
    given = [
        "-v",
        f"{packages}:/checkout:ro",
        "-e",
        "PYTHONPATH=/checkout",
        "-e",
        "PYTHONDONTWRITEBYTECODE=1",
    ]
    done = subprocess.run(
        [*run, *given, *flags, IMAGE, "python3", "-c", SCRIPT, cgroups],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, dict[str, str] | str | int] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(
    ("flags", "missing"),
    [((), OPEN), (OPEN[:2], OPEN[2:]), (OPEN[2:], OPEN[:2])],
    ids=["all", "the masks' own", "the filter's own"],
)
def test_a_container_without_a_flag_is_told_that_flag(
    docker_engine: Path, importable: Path, flags: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    report = contained(docker_engine, importable, "weak", "--user", "1000", *flags)
    assert isinstance(report["fixes"], dict)
    assert report["fixes"]["user namespaces"] == f"Start the container with {' '.join(missing)}"
    assert str(report["refused"]).endswith(report["fixes"]["user namespaces"])


def test_with_two_flags_an_ordinary_user_gets_sandboxes_with_weaker_limits_if_that_is_wanted(
    docker_engine: Path, importable: Path
) -> None:
    report = contained(docker_engine, importable, "weak", "--user", "1000", *OPEN)
    assert report["said"] == "1000\n"
    assert report["host_uid"] == 1000
    assert "rlimit" in str(report["limits"])
    refused = str(contained(docker_engine, importable, "required", "--user", "1000", *OPEN)["refused"])
    assert "REQUIRE_CGROUPS=false" in refused
    assert "-v /sys/fs/cgroup:/sys/fs/cgroup" in refused


def test_root_with_the_rights_and_control_groups_of_the_host_gives_everything(
    docker_engine: Path, importable: Path
) -> None:
    report = contained(docker_engine, importable, "required", *OPEN, *WHOLE)
    assert report["said"] == "1000\n"
    assert isinstance(report["host_uid"], int)
    assert report["host_uid"] > 100_000
    assert "rlimit" not in str(report["limits"]).replace("a process (rlimit)", "")
    refused = str(contained(docker_engine, importable, "required", *OPEN)["refused"])
    assert "root without SYS_PTRACE, SYS_ADMIN" in refused
    assert "--cap-add SYS_ADMIN --cap-add SYS_PTRACE" in refused


def test_what_holds_a_process_is_read_from_the_kernel() -> None:
    masked = "1 2 0:4 /null /proc/keys rw - tmpfs tmpfs rw\n"
    assert holds("Seccomp:\t2\n", masked, "docker-default (enforce)\n") == tuple(Hold)
    own = "1 2 0:4 / /proc rw - proc proc rw\n1 2 0:5 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n"
    assert holds("Seccomp:\t0\nSeccomp_filters:\t2\n", own, "unconfined\n") == ()
    assert lacking_rights("CapEff:\t000001ffffffffff\n") == []
    assert lacking_rights("CapEff:\t00000000a80425fb\n") == ["SYS_PTRACE", "SYS_ADMIN"]


def test_each_engine_has_its_own_words() -> None:
    assert "unmask=ALL" in Container(Kind.PODMAN, (Hold.MASKS,)).fix
    assert "securityContext: procMount: Unmasked" in Container(Kind.KUBERNETES, (Hold.MASKS,)).fix
    assert Container(Kind.DOCKER, ()).fix == HOST_REFUSES
    assert all(set(words) == set(Hold) for words in FLAGS.values())
