"""Gets an ordinary user the control groups that sandboxes need.

A login session owns none. systemd gives a new scope with a delegated subtree to whoever asks, so the
program starts itself again inside one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lm_sandbox.sandboxes.drivers.bubblewrap.checks import is_delegated
from lm_sandbox.sandboxes.drivers.bubblewrap.delegation import is_own_unit

OWN_GROUPS = Path("/proc/self/cgroup")
MARK = "LM_SANDBOX_SCOPE"
TRY_S = 20


def enter_scope() -> None:
    """Starts this program again in a scope of its own, where that helps and is possible.

    Otherwise it returns, and the driver says what is missing.
    """
    if os.geteuid() == 0 or MARK in os.environ:
        return
    if is_delegated() and is_own_unit(OWN_GROUPS.read_text()):
        return
    systemd_run = shutil.which("systemd-run")
    if systemd_run is None:
        return
    scope = [systemd_run, "--user", "--scope", "--quiet", "-p", "Delegate=yes"]
    try:
        tried = subprocess.run([*scope, "true"], capture_output=True, timeout=TRY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if tried.returncode == 0:
        os.environ[MARK] = "1"
        os.execv(systemd_run, [*scope, sys.executable, *sys.argv])  # noqa: S606 - itself again
