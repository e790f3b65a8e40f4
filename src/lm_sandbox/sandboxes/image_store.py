"""Images that were imported: root file systems on disk, each under its name."""

import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lm_sandbox.errors import Conflict, ImageNotFound, Invalid, NoCapacity
from lm_sandbox.sandboxes.image_archive import unpack_image

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# What is half made for so long is nobody's any more.
STALE_S = 86400.0
ABOUT, ROOT, NEW = "image.json", "root", "new."


@dataclass(frozen=True, slots=True)
class Image:
    """What sandboxes can be made of.

    Attributes:
        name: Names it.
        digest: Tells images apart that had the same name.
        size_bytes: What its files have.
        created_at: When it was imported, in ISO 8601.
        env: Variables of every command.
    """

    name: str
    digest: str
    size_bytes: int
    created_at: str
    env: Mapping[str, str] = field(default_factory=dict)


class ImageStore:
    """Keeps imported images, each in a folder.

    Args:
        folder: Holds the folders.
        most_bytes: What all of them may have together.
        taken: Names that stand for something else.
    """

    def __init__(self, folder: Path, most_bytes: int, taken: frozenset[str] = frozenset()) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._taken = taken

    def all(self) -> list[Image]:
        """Returns every image, by name."""
        found = (self.find(path.parent.name) for path in sorted(self._folder.glob(f"*/{ABOUT}")))
        return [image for image in found if image is not None]

    def find(self, name: str) -> Image | None:
        """Returns the image of this name; None where there is none."""
        if not NAME.fullmatch(name) or name.startswith(NEW):
            return None
        try:
            return Image(**json.loads((self._folder / name / ABOUT).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def root_of(self, image: Image) -> Path:
        """Returns where the files of an image are."""
        return self._folder / image.name / ROOT

    def place(self) -> Path:
        """Returns a folder of its own for an archive that is about to come and what is unpacked from it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        made = self._folder / f"{NEW}{secrets.token_hex(8)}"
        made.mkdir(mode=0o700)
        return made

    def room(self) -> int:
        """Tells how many bytes more images may have."""
        return self._most_bytes - sum(image.size_bytes for image in self.all())

    def check_name(self, name: str) -> None:
        """Refuses a name that no new image can have.

        Raises:
            Invalid: it is none.
            Conflict: it stands for another image.
        """
        if not NAME.fullmatch(name) or name.startswith(NEW):
            raise Invalid(
                "The name of an image has small letters, digits, '.', '_' and '-', 64 at most.", field="name"
            )
        if name in self._taken or self.find(name) is not None:
            raise Conflict(f"There is an image {name!r} already; remove it first, or take another name.")

    def add(self, name: str, archive: Path, place: Path) -> Image:
        """Unpacks an archive in the folder that `place` made, and enters it.

        Raises:
            Invalid: it is no image, or a hostile one.
            Conflict: there is one of this name.
            NoCapacity: the images have as much as they may.
        """
        root = place / ROOT
        root.mkdir()
        root.chmod(0o755)
        content = unpack_image(archive, root, self.room())
        image = Image(
            name, content.digest, content.size_bytes, datetime.now(UTC).isoformat(), dict(content.env)
        )
        archive.unlink()
        (place / ABOUT).write_text(json.dumps(asdict(image)))
        self.check_name(name)
        try:
            place.rename(self._folder / name)
        except OSError as error:
            raise NoCapacity("The image could not be entered; try again.") from error
        return image

    def drop(self, place: Path) -> None:
        """Removes what was unpacked for an image that did not come about."""
        shutil.rmtree(place, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Removes an image.

        Raises:
            ImageNotFound: there is none of this name.
        """
        if self.find(name) is None:
            raise ImageNotFound(f"There is no imported image {name!r}.")
        # At once, so that nobody finds it half removed.
        gone = self._folder / f"{NEW}{secrets.token_hex(8)}"
        (self._folder / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what a killed server has left half made."""
        for path in self._folder.glob(f"{NEW}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    shutil.rmtree(path, ignore_errors=True)
