"""The GGUF files on this machine."""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from lm_sandbox.errors import Conflict, Invalid, Unsupported
from lm_sandbox.models.gguf import GgufHeader, Weights, read_header
from lm_sandbox.models.hub_files import HUB

NANO = "nano"
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]+")
Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's file; of a model in parts, the first."""

    name: str
    path: Path

    def version(self) -> Version:
        """Changes when the file does: time of change in nanoseconds, and size in bytes of all parts."""
        try:
            stats = [part.stat() for part in self.parts()]
        except OSError:
            return 0, 0
        return max(stat.st_mtime_ns for stat in stats), sum(stat.st_size for stat in stats)

    def parts(self) -> list[Path]:
        """All of its files."""
        stem = self.path.name.removesuffix(".gguf")
        part = _PART.search(stem)
        if part is None:
            return [self.path]
        head, count = stem[: part.start()], int(part[2])
        return [self.path.with_name(f"{head}-{n:05}-of-{part[2]}.gguf") for n in range(1, count + 1)]


class Library:
    """Finds models and remembers their headers.

    Args:
        folder: Where GGUF files are looked for.
        sources: Files elsewhere, by name.
    """

    def __init__(self, folder: Path, sources: Mapping[str, str]) -> None:
        self.folder = folder
        self._sources = {n: Path(s).expanduser() for n, s in sources.items() if not s.startswith(HUB)}
        self._headers: dict[Path, tuple[Version, GgufHeader]] = {}

    def find(self) -> list[ModelFile]:
        """Lists the models: those of the folder, those configured, and the bundled one; blocking."""
        found = {file.name: file for file in find_models(self.folder)}
        found |= {name: ModelFile(name, path) for name, path in self._sources.items()}
        bundled = Path(str(resources.files("lm_sandbox.models.bundled") / f"{NANO}.gguf"))
        if bundled.is_file():
            found.setdefault(NANO, ModelFile(NANO, bundled))
        return list(found.values())

    def header(self, file: ModelFile) -> GgufHeader:
        """Reads a header, once for each version of the file; blocking.

        Raises:
            ModelFailed: it is no model, or a broken one.
        """
        version = file.version()
        known = self._headers.get(file.path)
        if known is not None and known[0] == version:
            return known[1]
        header = read_header(file.path)
        others = file.parts()[1:]
        if others:
            header = _spread(header, sum(part.stat().st_size for part in others if part.exists()))
        self._headers[file.path] = version, header
        return header

    def link(self, file: ModelFile, name: str) -> None:
        """Gives a model's file a second name; blocking.

        Raises:
            Invalid: this is no name for one.
            Conflict: there is one of that name.
            Unsupported: the file is on another disk, or one of several.
        """
        if not name or _UNSAFE.search(name) or name.startswith((".", "mmproj")) or _PART.search(name):
            raise Invalid(f"{name[:100]!r} is no name for a model.", field="destination")
        if any(found.name == name for found in self.find()):
            raise Conflict(f"There is a model {name!r} already; delete it first.")
        if len(file.parts()) > 1:
            raise Unsupported(f"{file.name!r} is in parts; name it in the settings: llamacpp.models.NAME.")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.path.resolve(), self.folder / f"{name}.gguf")
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM}:
                raise
            raise Unsupported(
                f"{file.name!r} is on another disk than the folder of models; "
                "name it in the settings: llamacpp.models.NAME with its file as source."
            ) from error

    def remove(self, file: ModelFile) -> None:
        """Deletes the files of a model; blocking.

        Raises:
            Unsupported: it is not in the folder.
        """
        if not file.path.is_relative_to(self.folder):
            raise Unsupported(f"{file.name!r} is not in the folder of models; delete its file yourself.")
        for part in file.parts():
            part.unlink(missing_ok=True)


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


def _spread(header: GgufHeader, more: int) -> GgufHeader:
    """Adds the bytes of the other parts, which only the parts' own tables could tell apart."""
    layers = header.weights.layers
    if not layers:
        return header
    each = -(-more // len(layers))
    weights = Weights(
        tuple(size + each for size in layers),
        header.weights.embedding,
        header.weights.output,
        header.weights.tied,
    )
    return replace(header, weights=weights)
