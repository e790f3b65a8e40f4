"""What `doctor --fix` would do on other hosts than this one."""

import subprocess
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.drivers.bubblewrap import apparmor
from lm_sandbox.sandboxes.drivers.bubblewrap.apparmor import BWRAP, profile, remedy
from lm_sandbox.sandboxes.drivers.bubblewrap.delegation import DELEGATION, DROP_IN, is_own_unit, judge
from lm_sandbox.sandboxes.remedies import File, Package, Run, by_hand

UBUNTUS = "abi <abi/4.0>,\nprofile bwrap /usr/bin/bwrap flags=(attach_disconnected) {\n  userns,\n}\n"


def test_the_profile_is_one_that_this_machines_apparmor_understands(tmp_path: Path) -> None:
    file = tmp_path / "profile"
    file.write_text(profile(newest=apparmor.is_newest()))
    parser = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names", str(file)]
    parsed = subprocess.run(parser, capture_output=True, text=True, timeout=60, check=False)
    assert parsed.returncode == 0, parsed.stderr
    assert {"lm-sandbox-bwrap", "lm-sandbox-inside"} <= set(parsed.stdout.split())
    file.write_text(profile(newest=apparmor.is_newest()).replace("capability,", "capability fly,", 1))
    parser.remove("--names")
    assert subprocess.run(parser, capture_output=True, timeout=60, check=False).returncode != 0


def test_what_bwrap_starts_gets_neither_capabilities_nor_namespaces_from_the_profile() -> None:
    bwrap, inside = profile(newest=True).split("profile lm-sandbox-inside")
    assert "/usr/bin/bwrap flags" in bwrap
    assert "file px /** -> &lm-sandbox-bwrap//&lm-sandbox-inside," in bwrap
    assert "  deny userns,\n  deny capability,\n" in inside
    assert "\n  userns," not in inside


def test_older_apparmors_get_no_rule_that_they_do_not_know() -> None:
    assert not {"userns", "mqueue", "io_uring"} & set(profile(newest=False).replace(",", "").split())
    assert "deny capability," in profile(newest=False)


def test_a_restricted_host_gets_our_profile_loaded() -> None:
    package, file, load = remedy(BWRAP, {"sbin.dhclient": "/sbin/dhclient {\n}\n"}, newest=True)
    assert package == Package("apparmor")
    assert isinstance(file, File)
    assert (file.path, file.content) == ("/etc/apparmor.d/lm-sandbox-bwrap", profile(newest=True))
    assert Path(file.source or "").read_text() == file.content
    assert load == Run(("apparmor_parser", "--replace", file.path))


def test_a_profile_for_bwrap_that_is_there_is_loaded_instead_of_ours() -> None:
    steps = remedy(BWRAP, {"bwrap-userns-restrict": UBUNTUS}, newest=True)
    assert steps[-1] == Run(("apparmor_parser", "--replace", "/etc/apparmor.d/bwrap-userns-restrict"))
    assert not any(isinstance(step, File) for step in steps)


def test_a_bwrap_that_others_could_replace_gets_no_rule() -> None:
    assert remedy("/home/somebody/bin/bwrap", {}, newest=True) == (Package("bubblewrap"),)


def test_profiles_that_are_switched_off_and_our_own_are_not_seen(tmp_path: Path) -> None:
    for name in ("bwrap-userns-restrict", "off", "lm-sandbox-bwrap"):
        (tmp_path / name).write_text(UBUNTUS)
    (tmp_path / "disable").mkdir()
    (tmp_path / "disable/off").symlink_to(tmp_path / "off")
    assert set(apparmor.look(tmp_path)) == {"bwrap-userns-restrict"}
    assert apparmor.look(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("lent", "ok", "detail"),
    [
        ("cpu cpuset io memory pids", True, "users are lent cpu, cpuset, io, memory, pids"),
        ("memory pids cpu", False, "users are lent cpu, memory, pids, not cpuset, io"),
        ("", False, "users are lent none, not cpu, cpuset, io, memory, pids"),
    ],
)
def test_what_systemd_does_not_lend_is_named(lent: str, ok: bool, detail: str) -> None:
    check = judge(lent.split())
    assert (check.ok, check.detail, check.required) == (ok, detail, False)
    assert check.remedy == DELEGATION


def test_the_line_to_type_does_what_the_steps_do(tmp_path: Path) -> None:
    place = tmp_path / "a folder/file"
    steps = (File(str(place), "it's 100 %\nand\n"), Run(("touch", str(tmp_path / "b c"))))
    line = by_hand(steps)
    assert line.startswith("sudo sh -c ")
    subprocess.run(["bash", "-c", line.removeprefix("sudo ")], timeout=60, check=True)
    assert place.read_text() == "it's 100 %\nand\n"
    assert (tmp_path / "b c").exists()
    assert DROP_IN in by_hand(DELEGATION)


@pytest.mark.parametrize(
    ("unit", "own"),
    [
        ("app.slice/lm-sandbox.service", True),
        ("app.slice/run-r6ab1.scope", True),
        ("app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope", False),
        ("session-3.scope", False),
        ("", False),
    ],
)
def test_the_control_group_of_a_terminal_is_not_taken_for_the_servers_own(unit: str, own: bool) -> None:
    assert is_own_unit(f"1:name=systemd:/other.service\n0::/user.slice/{unit}\n") is own
