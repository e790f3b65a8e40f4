"""What lets bwrap make user namespaces where AppArmor keeps ordinary users from it (Ubuntu since 23.10).

Source: apparmor.d(5), and the kernel's sysctl `kernel.apparmor_restrict_unprivileged_userns`.
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from lm_sandbox.sandboxes.remedies import File, Package, Run, Step

BWRAP = "/usr/bin/bwrap"
FOLDER = Path("/etc/apparmor.d")
NAME = "lm-sandbox-bwrap"
DATA = resources.files("lm_sandbox.sandboxes.drivers.bubblewrap") / "bwrap.apparmor"
NEWEST, OLDER = "abi <abi/4.0>", "abi <abi/3.0>"
# Rules that a parser before 4.0 does not know; a profile of its ABI is not held to them.
NEW_RULES = re.compile(r"^ *(deny )?(userns|mqueue|io_uring),\n", re.MULTILINE)
ATTACHED = re.compile(
    r"^\s*(profile\s+\S+\s+)?(/usr/bin/bwrap|/\{,usr/\}bin/bwrap|/\{usr/,\}bin/bwrap)\b", re.MULTILINE
)


def profile(*, newest: bool) -> str:
    """Returns the profile, for AppArmor 4 or for what came before it."""
    text = DATA.read_text()
    return text if newest else NEW_RULES.sub("", text).replace(NEWEST, OLDER)


def remedy(bwrap: str, others: Mapping[str, str], *, newest: bool) -> tuple[Step, ...]:
    """Says what to do on a host that restricts bwrap; nothing where no rule should be given.

    Args:
        bwrap: Where it is.
        others: The profiles of this host that are not ours, by the names of their files.
        newest: Whether this host's AppArmor is of version 4.
    """
    if bwrap != BWRAP:
        # A rule for a program that somebody else could replace would be one for everything.
        return (Package("bubblewrap"),)
    for name, text in sorted(others.items()):
        if ATTACHED.search(text):
            # Two profiles for one program are as good as none.
            return (Package("apparmor"), _load(name))
    text = profile(newest=newest)
    source = str(DATA) if newest else None
    return (Package("apparmor"), File(f"{FOLDER}/{NAME}", text, source), _load(NAME))


def look(folder: Path = FOLDER) -> dict[str, str]:
    """Reads this host's profiles, without ours and without those that are switched off."""
    found = {}
    for path in folder.glob("*"):
        if path.is_file() and path.name != NAME and not (folder / "disable" / path.name).is_symlink():
            found[path.name] = path.read_text(errors="replace")
    return found


def is_newest(folder: Path = FOLDER) -> bool:
    """Whether this host's AppArmor knows rules for user namespaces."""
    return (folder / "abi/4.0").exists()


def _load(name: str) -> Run:
    return Run(("apparmor_parser", "--replace", f"{FOLDER}/{name}"))
