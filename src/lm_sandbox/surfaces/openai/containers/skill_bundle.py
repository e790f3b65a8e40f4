"""Skills as they come: zip archives with a SKILL.md. Pure."""

import io
import lzma
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zipfile import BadZipFile, ZipFile, ZipInfo

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.limits import MIB

MOST_FILES = 500
MOST_BYTES = 50 * MIB
GUIDE = "skill.md"
ENCRYPTED = 0x1
BROKEN = (BadZipFile, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, EOFError, OSError)


@dataclass(frozen=True, slots=True)
class SkillFile:
    """A file of a skill, its path from the skill's own folder."""

    path: str
    content: bytes
    executable: bool


def read_bundle(data: bytes, field: str) -> list[SkillFile]:
    """Reads the files of a skill, whether they are in a folder of their own or not.

    Raises:
        Invalid: it is no archive that can be taken, or has no SKILL.md; `field` names it.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            infos = _checked(archive.infolist(), field)
            files = [SkillFile(i.filename, archive.read(i), _runs(i)) for i in infos]
    except BROKEN as error:
        raise Invalid(f"{field}: this is no zip archive that can be read.", field=field) from error
    return list(_rooted(files, field))


def as_tar(folder: str, files: Sequence[SkillFile]) -> bytes:
    """Packs files so that a sandbox can take them all at once, into a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in files:
            info = tarfile.TarInfo(f"{folder}/{file.path}")
            info.size = len(file.content)
            info.mode = 0o755 if file.executable else 0o644
            tar.addfile(info, io.BytesIO(file.content))
    return packed.getvalue()


def _checked(infos: Sequence[ZipInfo], field: str) -> list[ZipInfo]:
    files = [info for info in infos if not info.is_dir()]
    if len(files) > MOST_FILES or sum(info.file_size for info in files) > MOST_BYTES:
        raise Invalid(
            f"{field}: a skill has {MOST_FILES} files and {MOST_BYTES // MIB} MiB at most.", field=field
        )
    for info in files:
        parts = info.filename.split("/")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & ENCRYPTED or kind not in {0, stat.S_IFREG}:
            raise Invalid(f"{field}: a skill has plain files only, none encrypted.", field=field)
        if any(part in {"", ".", ".."} for part in parts) or "\\" in info.filename:
            raise Invalid(f"{field}: a path in the archive leads out of it.", field=field)
    return files


def _rooted(files: Sequence[SkillFile], field: str) -> Iterator[SkillFile]:
    guides = [file.path for file in files if file.path.rpartition("/")[2].lower() == GUIDE]
    top = min(guides, key=lambda path: path.count("/"), default=None)
    if top is None or top.count("/") > 1:
        raise Invalid(f"{field}: there is no SKILL.md at the top of the archive.", field=field)
    folder = top.rpartition("/")[0]
    for file in files:
        path = file.path.removeprefix(f"{folder}/") if folder else file.path
        yield SkillFile(path, file.content, file.executable)


def _runs(info: ZipInfo) -> bool:
    return bool((info.external_attr >> 16) & stat.S_IXUSR)
