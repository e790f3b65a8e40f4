"""Finds the system that an image's name stands for, and adds what a sandbox needs to it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.drivers.bubblewrap.additions import Additions, write_etc
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import HostView
from lm_sandbox.sandboxes.drivers.bubblewrap.host_system import HostSystem
from lm_sandbox.sandboxes.drivers.bubblewrap.system import FOLDERS, HOST, Overlay, System
from lm_sandbox.sandboxes.image_store import ImageStore
from lm_sandbox.sandboxes.inside.file_agent.paths import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_regular

MOST_LIST_BYTES = 1024 * 1024
IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


@dataclass(frozen=True, slots=True)
class ImagePlaces:
    """Where images are.

    Attributes:
        roots: Folders with root file systems, by the names of images.
        store: Those that were imported.
        additions: A folder for what is added to them.
    """

    roots: Mapping[str, Path]
    store: ImageStore
    additions: Path


class Systems:
    """Every image that sandboxes can be made of.

    Args:
        places: Where they are.
        host: What is there of the host's own system.
    """

    def __init__(self, places: ImagePlaces, host: HostView) -> None:
        self._roots = places.roots
        self._store = places.store
        self._additions = Additions(places.additions)
        self._host = HostSystem(host, self._additions)

    def find(self, name: str) -> System:
        """Returns the system of an image.

        Raises:
            Invalid: there is no such image.
            Unsupported: the host's system cannot be looked through.
        """
        if name == HOST:
            return self._host.find()
        if name in self._roots:
            root = self._roots[name]
            if not root.is_dir():
                raise Invalid(
                    f"The folder of the image {name!r} is not there; mend the settings.", field="image"
                )
            told = hashlib.sha256(os.fsencode(root)).hexdigest()
            return self._of(root, f"{name} ({told[:12]})", {})
        image = self._store.find(name)
        if image is None:
            known = ", ".join(sorted({HOST, *self._roots, *(one.name for one in self._store.all())}))
            raise Invalid(f"There is no image {name!r}; there are: {known}.", field="image")
        return self._of(self._store.root_of(image), f"{name} ({image.digest[:12]})", image.env)

    def _of(self, root: Path, label: str, env: Mapping[str, str]) -> System:
        made = self._additions.new()
        write_etc(made / "etc", _read(root, "etc/passwd"), _read(root, "etc/group"))
        lowers = (str(self._additions.keep(made)), str(root))
        return System(label, (Overlay("/", lowers, FOLDERS),), env)


def _read(root: Path, path: str) -> str:
    """Reads a file of an image, whatever links it has; empty where there is none."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_regular(path, os.O_RDONLY, folder=top, resolve=IN_ROOT)
    except OSError:
        return ""
    finally:
        os.close(top)
    try:
        return os.read(fd, MOST_LIST_BYTES).decode(errors="replace")
    finally:
        os.close(fd)
