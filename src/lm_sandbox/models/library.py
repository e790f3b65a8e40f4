"""The GGUF files on this machine."""

import re
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(r"-(\d{5})-of-\d{5}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's file; of a model in parts, the first."""

    name: str
    path: Path

    def version(self) -> tuple[int, int]:
        """Changes when the file does: time of change in nanoseconds, and size in bytes."""
        try:
            stat = self.path.stat()
        except OSError:
            return 0, 0
        return stat.st_mtime_ns, stat.st_size


def find_models(folder: Path) -> list[ModelFile]:
    """Lists the models in a folder and the folders in it, by name; the first of equal names."""
    found: dict[str, ModelFile] = {}
    for path in sorted([*folder.glob("*.gguf"), *folder.glob("*/*.gguf")]):
        stem = path.name.removesuffix(".gguf")
        part = _PART.search(stem)
        if stem.startswith("mmproj") or (part and int(part[1]) != 1):
            continue
        name = _UNSAFE.sub("-", _PART.sub("", stem)).strip("-")
        if name:
            found.setdefault(name, ModelFile(name, path))
    return list(found.values())
