"""Small layers that go on top of images: what every sandbox needs of a system."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import OWN_ETC
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID


class Additions:
    """Small read-only layers that go on top of images, kept by their content.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self) -> Path:
        """Returns a folder to write one to, which `keep` takes."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        folder.chmod(0o755)
        return folder

    def keep(self, made: Path) -> Path:
        """Keeps a folder under a name that stands for its content, and returns it."""
        kept = self._folder / _digest(made)
        try:
            made.rename(kept)
        except OSError:
            # It is there, perhaps in use, and the same.
            shutil.rmtree(made)
        return kept


def write_etc(etc: Path, passwd: str, group: str) -> None:
    """Writes what every sandbox has in `/etc`: its own users beside those that are known already."""
    etc.mkdir(exist_ok=True)
    for name, content in OWN_ETC.items():
        (etc / name).write_text(content)
    own_passwd, own_group = OWN_ETC["passwd"], OWN_ETC["group"]
    if passwd:
        (etc / "passwd").write_text(_with_sandbox(passwd, own_passwd))
    if group:
        (etc / "group").write_text(_with_sandbox(group, own_group))


def _with_sandbox(text: str, own: str) -> str:
    """Returns a list of users or groups in which the sandbox's user is nobody else's, and needs no shadow."""
    taken = str(SANDBOX_UID)
    lines = [line for line in text.splitlines() if not line.startswith("sandbox:")]
    kept = [line for line in lines if line.split(":")[2:3] != [taken]]
    names = {line.split(":")[0] for line in kept}
    added = [line.replace(":x:", ":*:", 1) for line in own.splitlines() if line.split(":")[0] not in names]
    return "\n".join([*kept, *added]) + "\n"


def _digest(top: Path) -> str:
    """Tells folders apart whose content differs."""
    found = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        found.update(
            f"{path.relative_to(top)}\0{status.st_mode}\0{status.st_rdev}\0".encode(errors="surrogateescape")
        )
        if path.is_symlink():
            found.update(os.fsencode(path.readlink()))
        elif path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()
