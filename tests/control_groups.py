"""The control groups of this machine, which others make and remove meanwhile."""

import os
from fnmatch import fnmatch
from pathlib import Path


def control_groups(pattern: str) -> list[Path]:
    """Those of a name, in every hierarchy."""
    # Other than `glob` it bears that a folder goes while it is looked into.
    walk = os.walk("/sys/fs/cgroup")
    return [Path(parent, name) for parent, names, _ in walk for name in names if fnmatch(name, pattern)]


def groups_below(pattern: str) -> list[Path]:
    """Those that are in one of a name."""
    return [group for group in control_groups("*") if fnmatch(group.parent.name, pattern)]
