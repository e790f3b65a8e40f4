"""What this host gives and what it lacks, with the fix for each."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.drivers.bubblewrap import apparmor, container
from lm_sandbox.sandboxes.drivers.bubblewrap.delegation import (
    DELEGATION,
    SYSTEMD,
    check_delegation,
    delegation_advice,
)
from lm_sandbox.sandboxes.inside import cgroups
from lm_sandbox.sandboxes.inside.seccomp import build_filter
from lm_sandbox.sandboxes.remedies import File, Package, Run, Step, advice

OLDEST = (0, 5)
TRY_S = 10
LIBSECCOMP: tuple[Step, ...] = (Package("libseccomp2"),)
SYSCTL_FILE = "/etc/sysctl.d/60-lm-sandbox.conf"
BUBBLEWRAP: tuple[Step, ...] = (Package("bubblewrap"),)
DELEGATE_FIX = (
    "Run it in a scope of its own: systemd-run --user --scope -p Delegate=yes lm-sandbox serve. "
    "To go on with weaker limits instead, set LM_SANDBOX_SANDBOX__REQUIRE_CGROUPS=false"
)
MOUNT_CPU_FIX = "Mount the cpu controller, or let whoever made this session delegate it"
NO_FIX = "This kernel does not let bwrap make user namespaces, and does not say why"
ONLY_ROOT = (
    "A sandbox with an image has users of its own, which only a server that runs as root can give it; "
    "leave the image out, run the server as root, or take the docker driver"
)
IMAGES_SINCE = (5, 19)
ATTEMPT = (
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--cap-drop",
    "ALL", "--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
    "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
    "--", "/usr/bin/true",
)  # fmt: skip
NOBODY = 65534


def check_host(*, require_cgroups: bool = True) -> list[Check]:
    """Looks at everything that the driver needs; starts one short-lived bwrap."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        detail = "bwrap is not installed"
        return [Check("bubblewrap", ok=False, detail=detail, fix=advice(BUBBLEWRAP), remedy=BUBBLEWRAP)]
    return [
        _version(bwrap),
        _namespaces(bwrap),
        *_rights(),
        _filter(),
        _cgroups(required=require_cgroups),
        _cpu_controller(),
        _images(),
        *check_delegation(),
    ]


def bwrap_version(bwrap: str) -> tuple[int, ...]:
    """Asks bwrap for its version; (0,) where it does not say."""
    try:
        asked = subprocess.run(
            [bwrap, "--version"], capture_output=True, text=True, timeout=TRY_S, check=False
        )
        return tuple(int(part) for part in asked.stdout.split()[-1].split("."))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return (0,)


def _version(bwrap: str) -> Check:
    version = bwrap_version(bwrap)
    text = ".".join(map(str, version))
    fix = "Install bubblewrap 0.5 or newer from your distribution"
    return Check("bubblewrap", ok=version >= OLDEST, detail=f"version {text}", fix=fix, remedy=BUBBLEWRAP)


def _namespaces(bwrap: str) -> Check:
    name = "user namespaces"
    as_root = os.geteuid() == 0
    try:
        tried = subprocess.run(
            [bwrap, *ATTEMPT],
            capture_output=True,
            text=True,
            timeout=TRY_S,
            check=False,
            env={},
            user=NOBODY if as_root else None,
            group=NOBODY if as_root else None,
            extra_groups=[] if as_root else None,
        )
    except OSError as error:
        return Check(name, ok=False, detail=f"bwrap does not start: {error.strerror}", fix=_refusal_fix())
    except subprocess.TimeoutExpired:
        return Check(name, ok=False, detail="bwrap does not come back", fix=_refusal_fix())
    if tried.returncode == 0:
        return Check(name, ok=True, detail="bwrap makes a sandbox")
    said = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    steps = _namespace_remedy(bwrap)
    fix = advice(steps) if steps else _refusal_fix()
    return Check(name, ok=False, detail=f"bwrap is refused: {said}", fix=fix, remedy=steps)


def _refusal_fix() -> str:
    inside = container.read_container()
    return inside.fix if inside else NO_FIX


def _namespace_remedy(bwrap: str) -> tuple[Step, ...]:
    if container.read_container():
        return ()  # What would mend it is not inside.
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return apparmor.remedy(bwrap, apparmor.look(), newest=apparmor.is_newest())
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return _allow("kernel.unprivileged_userns_clone=1")
    if _sysctl("user/max_user_namespaces") == "0":
        return _allow("user.max_user_namespaces=15000")
    return ()


def _allow(setting: str) -> tuple[Step, ...]:
    return (File(SYSCTL_FILE, f"{setting}\n"), Run(("sysctl", "--load", SYSCTL_FILE)))


def _sysctl(name: str) -> str:
    try:
        return (Path("/proc/sys") / name).read_text().strip()
    except OSError:
        return ""


def _rights() -> list[Check]:
    if os.geteuid() != 0:
        return []
    lacking = _lacking_rights()
    detail = f"root without {', '.join(lacking)}" if lacking else "those of root"
    return [Check("rights", ok=not lacking, detail=detail, fix=container.RIGHTS_FIX)]


def _lacking_rights() -> list[str]:
    return container.lacking_rights(Path("/proc/self/status").read_text())


def _filter() -> Check:
    name = "system call filter"
    try:
        size = len(build_filter()) // 8
    except (OSError, RuntimeError, ValueError) as error:
        detail = f"libseccomp does not work: {error}"
        return Check(name, ok=False, detail=detail, fix=advice(LIBSECCOMP), remedy=LIBSECCOMP)
    return Check(name, ok=True, detail=f"{size} instructions")


def is_delegated() -> bool:
    """Whether this user can make cgroups that hold memory and processes."""
    return _cgroups(required=True).ok


def find_hierarchy() -> cgroups.Hierarchy | None:
    """Finds where this server makes control groups.

    On a host root makes them at the top, which systemd leaves alone; a container has only its own.
    """
    return cgroups.find_hierarchy(
        Path("/proc/self/cgroup").read_text(),
        Path("/proc/self/mounts").read_text(),
        top=os.geteuid() == 0 and container.read_container() is None,
    )


def _cpu_controller() -> Check:
    name = "cpu controller"
    found = find_hierarchy()
    if found is not None and _is_ours(found) and "cpu" in _controllers(found):
        return Check(name, ok=True, detail="CPU time can be limited", required=False)
    detail = "CPU time of sandboxes is not limited"
    fix, steps = (delegation_advice(), DELEGATION) if SYSTEMD.exists() else (MOUNT_CPU_FIX, ())
    return Check(name, ok=False, detail=detail, fix=fix, required=False, remedy=steps)


def obstacle_to_images() -> str | None:
    """Says why sandboxes can have no images on this host, with the remedy; None where they can."""
    if os.geteuid() != 0 or _lacking_rights():
        return ONLY_ROOT
    if tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) < IMAGES_SINCE:
        return "Images need a kernel that can mount with other ids below an overlay: Linux 5.19 or newer"
    return None


def _images() -> Check:
    name, obstacle = "images", obstacle_to_images()
    if obstacle is not None:
        return Check(name, ok=False, detail="sandboxes have no images", fix=obstacle, required=False)
    return Check(name, ok=True, detail="sandboxes with systems that they can write to", required=False)


def _cgroups(*, required: bool) -> Check:
    name = "control groups"
    found = find_hierarchy()
    if found is None:
        detail = "cpu, memory and pids controllers are not mounted"
        return Check(name, ok=False, detail=detail, fix=DELEGATE_FIX, required=required)
    if not _is_ours(found):
        detail = f"version {found.version}, but not delegated to this user"
        fix = container.CGROUPS_FIX if container.read_container() else DELEGATE_FIX
        return Check(name, ok=False, detail=detail, fix=fix, required=required)
    if lacking := [name for name in cgroups.REQUIRED if name not in _controllers(found)]:
        detail = f"version {found.version}, without {', '.join(lacking)}"
        return Check(name, ok=False, detail=detail, fix=DELEGATE_FIX, required=required)
    detail = f"version {found.version}: memory, pids"
    return Check(name, ok=True, detail=detail, required=required)


def _is_ours(found: cgroups.Hierarchy) -> bool:
    return all(os.access(parent, os.W_OK) for parent in found.parents.values())


def _controllers(found: cgroups.Hierarchy) -> list[str]:
    if found.version == 1:
        return list(found.parents)
    # Version 2 has all of them in one place.
    return (found.parents["pids"] / "cgroup.controllers").read_text().split()
