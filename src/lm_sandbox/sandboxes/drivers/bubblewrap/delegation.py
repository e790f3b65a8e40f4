"""What systemd lends ordinary users of control groups, and how it lends more.

Source: systemd.resource-control(5).
"""

import os
import subprocess
from pathlib import Path

from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.remedies import File, Run, Step, advice

WANTED = ("cpu", "cpuset", "io", "memory", "pids")
DROP_IN = "/etc/systemd/system/user@.service.d/lm-sandbox.conf"
DELEGATION: tuple[Step, ...] = (
    File(DROP_IN, f"[Service]\nDelegate={' '.join(WANTED)}\n"),
    Run(("systemctl", "daemon-reload")),
)
AGAIN = "It holds for whoever logs in afterwards."
SYSTEMD = Path("/run/systemd/system")
# What is lent is the same for every user.
ASKED = ("systemctl", "show", "user@1000.service", "--property=DelegateControllers", "--value")
TRY_S = 10


def delegation_advice() -> str:
    """Says how ordinary users get the controllers."""
    return f"{advice(DELEGATION)}. {AGAIN}"


def is_own_unit(proc_cgroup: str) -> bool:
    """Tells whether a program has a unit of systemd to itself, from its `/proc/self/cgroup`.

    A scope may be a terminal's, whose shell and other programs must stay where they are; one that
    `systemd-run` has made is not.
    """
    unit = next((line.rpartition("/")[2] for line in proc_cgroup.splitlines() if line.startswith("0::")), "")
    return unit.endswith(".service") or (unit.startswith("run-") and unit.endswith(".scope"))


def check_delegation() -> list[Check]:
    """Asks systemd, where it runs, what it lends ordinary users; root needs nothing lent itself."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return []
    try:
        asked = subprocess.run(ASKED, capture_output=True, text=True, timeout=TRY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [judge(asked.stdout.split())]


def judge(lent: list[str]) -> Check:
    """Says whether what is lent is enough for an ordinary user who makes sandboxes."""
    lacking = [name for name in WANTED if name not in lent]
    detail = f"users are lent {', '.join(sorted(lent)) or 'none'}"
    return Check(
        "delegation",
        ok=not lacking,
        detail=detail + (f", not {', '.join(lacking)}" if lacking else ""),
        fix=delegation_advice(),
        required=False,
        remedy=DELEGATION,
    )
