"""Reads images out of archives: OCI image layouts, what `docker save` writes, and plain root file systems.

An archive is hostile: nothing in it decides where on the host something is written, nor how much.
https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import errno
import hashlib
import json
import lzma
import platform
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from lm_sandbox.errors import Invalid, NoCapacity
from lm_sandbox.sandboxes.image_layers import Unpacking

MOST_JSON_BYTES = 4 * 1024 * 1024
MOST_LAYERS, MOST_DEPTH = 512, 4
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BLOBS = "blobs/sha256/"
BLOB = re.compile(r"sha256:([0-9a-f]{64})")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}=[^\0]{0,32768}")
# What says who somebody is, which is not the image's to say.
OWN_VARIABLES = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "TERM"})
# What reading something broken ends in.
BROKEN = (
    tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, LookupError, TypeError,
    AttributeError, ArithmeticError,
)  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What was in an archive.

    Attributes:
        digest: Of the image, as hexadecimal digits.
        size_bytes: Of its files.
        env: Variables of every command.
    """

    digest: str
    size_bytes: int
    env: Mapping[str, str]


def unpack_image(archive: Path, root: Path, most_bytes: int) -> Content:
    """Unpacks an image into an empty folder.

    Args:
        archive: A tar file, compressed or not.
        root: The folder.
        most_bytes: What its files may have.

    Raises:
        Invalid: it is no image, or one that wants out of its folder.
        NoCapacity: it is larger than it may be.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {one.name.removeprefix("./"): one for one in tar if one.isreg()}
            unpacking = Unpacking(root, most_bytes)
            found = _Archive(tar, members)
            if "oci-layout" in members and "index.json" in members:
                digest, layers, config = found.oci()
            elif "manifest.json" in members:
                digest, layers, config = found.docker()
            else:
                digest, layers, config = _digest_of(archive), [], {}
                with archive.open("rb") as file:
                    unpacking.apply(file)
            for layer in layers:
                with found.blob(layer) as file:
                    unpacking.apply(file)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise NoCapacity("There is no room for the image.") from error
        raise Invalid(
            "This is no image that can be read: neither an OCI or Docker archive nor a root file system, "
            "with layers that are plain or compressed with gzip, bzip2 or xz."
        ) from error
    return Content(digest, unpacking.size_bytes, _variables(config))


class _Archive:
    def __init__(self, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> None:
        self._tar = tar
        self._members = members

    def oci(self) -> tuple[str, list[str], Json]:
        """Returns the digest, the names of the layers from the bottom, and the configuration."""
        descriptor = self._manifest_of(self._json("index.json"))
        manifest = self._json(_blob(descriptor["digest"]))
        config = self._json(_blob(manifest["config"]["digest"]))
        layers = [_blob(layer["digest"]) for layer in manifest["layers"]]
        return _hex(descriptor["digest"]), _checked(layers), config

    def docker(self) -> tuple[str, list[str], Json]:
        """Returns the same of what `docker save` wrote."""
        manifest = self._json("manifest.json")[0]
        raw = self._read(manifest["Config"])
        return hashlib.sha256(raw).hexdigest(), _checked(list(manifest["Layers"])), json.loads(raw)

    def blob(self, name: str) -> BufferedReader:
        """Opens a layer, whose content is what its name says where the name says that.

        Raises:
            Invalid: it is not there, or not what it should be.
        """
        wanted = _named_digest(name)
        if wanted is not None:
            with self._open(name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                    raise Invalid("The image is damaged: a layer is not what its digest says.")
        return self._open(name)

    def _manifest_of(self, index: Json) -> Json:
        """Follows indexes to the manifest for this machine."""
        own = ARCHITECTURES.get(platform.machine(), platform.machine())
        for _ in range(MOST_DEPTH):
            fitting = [
                one for one in index["manifests"] if one.get("platform", {}).get("architecture", own) == own
            ]
            if not fitting:
                raise Invalid(f"The image has nothing for {own}.")
            name = _blob(fitting[0]["digest"])
            content = self._json(name)
            if "manifests" not in content:
                found: Json = fitting[0]
                return found
            index = content
        raise Invalid("The image has too many indexes in indexes.")

    def _json(self, name: str) -> Any:  # noqa: ANN401 - what JSON is
        return json.loads(self._read(name))

    def _read(self, name: str) -> bytes:
        with self._open(name) as file:
            raw = file.read(MOST_JSON_BYTES + 1)
        if len(raw) > MOST_JSON_BYTES:
            raise Invalid("The image's description is too long.")
        if (wanted := name.rpartition("blobs/sha256/")[2]) != name and hashlib.sha256(
            raw
        ).hexdigest() != wanted:
            raise Invalid("The image is damaged: its description is not what its digest says.")
        return raw

    def _open(self, name: str) -> BufferedReader:
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member else None
        if not isinstance(file, BufferedReader):
            raise Invalid("The image is damaged: something that it names is not in the archive.")
        return file


def _blob(digest: str) -> str:
    return BLOBS + _hex(digest)


def _named_digest(name: str) -> str | None:
    """Returns the digest that a file's name promises."""
    return name.removeprefix(BLOBS) if name.startswith(BLOBS) else None


def _hex(digest: str) -> str:
    found = BLOB.fullmatch(digest)
    if found is None:
        raise Invalid("The image has a digest that is none of SHA-256.")
    return found[1]


def _checked(layers: list[str]) -> list[str]:
    if len(layers) > MOST_LAYERS:
        raise Invalid(f"The image has more than {MOST_LAYERS} layers.")
    return layers


def _variables(config: Json) -> dict[str, str]:
    said = (config.get("config") or {}).get("Env") or []
    pairs = [str(one).partition("=") for one in said if VARIABLE.fullmatch(str(one))]
    return {name: value for name, _, value in pairs if name not in OWN_VARIABLES}


def _digest_of(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
