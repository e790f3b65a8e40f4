"""The host's own system as an image: what everybody may read of it, and nothing that tells of its users.

Programs and the package manager's list of them come from the host as they are, below a layer that hides what
not everybody may read: a sandbox's root may read all that is left. The rest of the root file system is made.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.drivers.bubblewrap.additions import Additions, write_etc
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import LINKS, SHARED_ETC, HostView
from lm_sandbox.sandboxes.drivers.bubblewrap.system import FOLDERS, HOST, Overlay, System

# What package managers and maintainer scripts want on top; not the hooks of packages set up elsewhere.
MORE_ETC = (
    "adduser.conf", "apt/keyrings", "apt/preferences.d", "apt/sources.list", "apt/sources.list.d",
    "apt/trusted.gpg.d", "debconf.conf", "deluser.conf", "dpkg/origins", "gai.conf", "host.conf",
    "login.defs", "pam.conf", "pam.d", "pip.conf", "rpc", "security", "skel", "ucf.conf", "xattr.conf",
)  # fmt: skip
MADE = (
    "etc", "etc/apt", "etc/apt/apt.conf.d", "etc/dpkg", "etc/dpkg/dpkg.cfg.d", "media", "mnt", "opt", "run",
    "run/lock", "srv", "sys", "usr", "var", "var/backups", "var/cache", "var/cache/apt",
    "var/cache/apt/archives", "var/cache/apt/archives/partial", "var/cache/debconf", "var/lib",
    "var/lib/apt", "var/lib/apt/lists", "var/lib/apt/lists/partial", "var/lib/apt/mirrors",
    "var/lib/apt/mirrors/partial", "var/lib/misc", "var/local", "var/log", "var/log/apt", "var/mail",
    "var/opt", "var/spool",
)  # fmt: skip
DPKG = "/var/lib/dpkg"
# A password in an address, as in `deb https://NAME:PASSWORD@host/`.
SECRET = re.compile(rb"://[^/\s@]+@")
MOST_FILE_BYTES = 8 * 1024 * 1024
# Those that packages make; people follow.
FIRST_PERSON, NOBODY = 1000, 65534
FRESH_S = 300.0
LOOK_S = 60.0


class HostSystem:
    """Looks at the host's system, and again when that was long ago.

    Args:
        host: What is there.
        additions: Keeps what is added.
        clock: Seconds that only go up.
    """

    def __init__(self, host: HostView, additions: Additions, clock: Callable[[], float] = monotonic) -> None:
        self._host = host
        self._additions = additions
        self._clock = clock
        self._found: System | None = None
        self._found_at = 0.0

    def find(self) -> System:
        """Returns the system.

        Raises:
            Unsupported: it cannot be looked through.
        """
        if self._found is None or self._clock() - self._found_at > FRESH_S:
            self._found, self._found_at = self._look(), self._clock()
        return self._found

    def _look(self) -> System:
        places = ["/usr", *(f"/{name}" for name in LINKS if name not in self._host.links)]
        places = [place for place in (*places, DPKG) if Path(place).is_dir()]
        folders = {place.lstrip("/"): 0o755 for place in places}
        if DPKG in places:
            folders["var/lib"] = 0o755
        overlays = [Overlay("/", (str(self._base()),), {**FOLDERS, **folders})]
        overlays += [Overlay(place, (str(self._mask(place)), place)) for place in places]
        return System(HOST, tuple(overlays))

    def _base(self) -> Path:
        made = self._additions.new()
        for folder in MADE:
            (made / folder).mkdir()
        for name in self._host.links:
            (made / name).symlink_to(LINKS[name])
        (made / "var/run").symlink_to("/run")
        (made / "var/lock").symlink_to("/run/lock")
        for name in (*SHARED_ETC, *MORE_ETC):
            copy_shown(Path("/etc") / name, made / "etc" / name)
        accounts = [_of_packages(Path("/etc") / name) for name in ("passwd", "group")]
        write_etc(made / "etc", *accounts)
        return self._additions.keep(made)

    def _mask(self, place: str) -> Path:
        made = self._additions.new()
        ours = [path for path in self._host.hidden if path.startswith(f"{place}/")]
        for path in sorted({*private_paths(place), *ours}):
            _hide(made, Path(path).relative_to(place), place)
        return self._additions.keep(made)


def _hide(layer: Path, hidden: Path, place: str) -> None:
    """Puts into a layer what hides something below it: a device of the number 0."""
    above = [folder for folder in reversed(hidden.parents) if folder.parts]
    if any((layer / folder).is_char_device() for folder in above):
        return
    for folder in above:
        (layer / folder).mkdir(exist_ok=True)
        (layer / folder).chmod(stat.S_IMODE((place / folder).stat().st_mode) & 0o755)
    os.mknod(layer / hidden, stat.S_IFCHR, 0)


def private_paths(place: str) -> Sequence[str]:
    """Lists what not everybody may read in a folder.

    Raises:
        Unsupported: it cannot be looked through.
    """
    private = ["(", "!", "-perm", "-o=r", "-o", "-type", "d", "!", "-perm", "-o=x", ")"]
    argv = ["find", place, "-xdev", "-mindepth", "1", *private, "-print0", "-prune"]
    try:
        found = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": os.defpath},
            timeout=LOOK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unsupported("The host's system could not be looked through for what is private.") from error
    return [os.fsdecode(path) for path in found.stdout.split(b"\0") if path]


def copy_shown(source: Path, target: Path) -> None:
    """Copies what everybody may read, links as links; leaves out what holds a secret all the same."""
    try:
        status = source.lstat()
    except FileNotFoundError:
        return
    shown = stat.S_IMODE(status.st_mode) & stat.S_IROTH
    if stat.S_ISLNK(status.st_mode):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.readlink())
    elif stat.S_ISDIR(status.st_mode) and shown:
        target.mkdir(parents=True, exist_ok=True)
        for below in source.iterdir():
            copy_shown(below, target / below.name)
    elif stat.S_ISREG(status.st_mode) and shown and status.st_size <= MOST_FILE_BYTES:
        content = source.read_bytes()
        if not SECRET.search(content):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            shutil.copymode(source, target)


def _of_packages(accounts: Path) -> str:
    """Returns the users or groups that packages have made; whom the host belongs to is not told."""
    lines = []
    for line in accounts.read_text(errors="replace").splitlines():
        number = "".join(line.split(":")[2:3])
        if number.isdecimal() and (int(number) < FIRST_PERSON or int(number) == NOBODY):
            # The members of a group may be people, and the file with the passwords stays on the host.
            shown = re.sub(r":[^:]*$", ":", line) if accounts.name == "group" else line
            lines.append(shown.replace(":x:", ":*:", 1))
    return "\n".join(lines)
