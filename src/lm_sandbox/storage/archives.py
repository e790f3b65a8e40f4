"""Files and folders in one compressed tar archive, with all that the kernel keeps of them."""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from lm_sandbox.errors import Invalid

XATTR = "SCHILY.xattr."
END = "end"


class ArchiveWriter:
    """Writes an archive; one that was not finished is known by its missing end.

    Args:
        path: Where it is to be; nothing may be there.

    Raises:
        FileExistsError: something is.
    """

    def __init__(self, path: Path) -> None:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        self._file = file
        self._tar = tarfile.open(fileobj=file, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def text(self, name: str, content: bytes) -> None:
        """Adds a small file of its own."""
        self.stream(name, io.BytesIO(content), len(content))

    def stream(self, name: str, source: IO[bytes], size: int) -> None:
        """Adds so many bytes as a file."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, source)

    def tree(self, name: str, path: Path) -> None:
        """Adds a file or a folder with all that is in it; links are not followed."""
        info = self._tar.gettarinfo(path, arcname=name)
        if info is None:
            return  # A socket.
        info.pax_headers = {
            XATTR + name: os.getxattr(path, name, follow_symlinks=False).decode(errors="surrogateescape")
            for name in os.listxattr(path, follow_symlinks=False)
        }
        if not info.isreg():
            self._tar.addfile(info)
        else:
            with path.open("rb") as source:
                self._tar.addfile(info, source)
        if info.isdir():
            for child in sorted(path.iterdir()):
                self.tree(f"{name}/{child.name}", child)

    def finish(self) -> None:
        """Ends it, on the disk."""
        self.text(END, b"")
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class ArchiveReader:
    """Reads an archive from its start.

    Args:
        path: Where it is.

    Raises:
        Invalid: it is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._tar = tarfile.open(path, "r:gz")  # noqa: SIM115 - closed by `close`
        except (OSError, tarfile.TarError, EOFError) as error:
            raise Invalid("This file is no backup, or cannot be read.") from error

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Gives all that is in it, up to its end.

        Raises:
            Invalid: it is damaged, was not finished, or has what leads out of where it is unpacked.
        """
        folders: set[PurePosixPath] = {PurePosixPath()}
        try:
            for member in self._tar:
                if member.name == END:
                    return
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts or not _below(place, folders):
                    raise Invalid("The backup has a name in it that leads out of it.")
                if member.isdir():
                    folders.add(place)
                yield member
        except (OSError, tarfile.TarError, EOFError, ValueError) as error:
            raise Invalid("The backup is damaged.") from error
        raise Invalid("The backup was not finished.")

    def content(self, member: tarfile.TarInfo) -> IO[bytes]:
        """Opens a file in it."""
        found = self._tar.extractfile(member)
        if found is None:
            raise Invalid("The backup is damaged.")
        return found

    def unpack(self, member: tarfile.TarInfo, folder: Path) -> None:
        """Puts a member where it belongs below a folder."""
        if os.geteuid() == 0:
            self._tar.extract(member, folder, set_attrs=True, numeric_owner=True, filter="fully_trusted")
        else:
            self._tar.extract(member, folder, set_attrs=True, filter="tar")
        path = folder / member.name
        for name, value in member.pax_headers.items():
            if name.startswith(XATTR):
                with suppress(PermissionError):
                    os.setxattr(
                        path,
                        name.removeprefix(XATTR),
                        value.encode(errors="surrogateescape"),
                        follow_symlinks=False,
                    )

    def close(self) -> None:
        """Lets go of the file."""
        self._tar.close()


def _below(place: PurePosixPath, folders: set[PurePosixPath]) -> bool:
    """Whether all above it are folders of the archive: a link in between would lead elsewhere."""
    # What the archive begins with has no entries of its own.
    return place.parent in folders or len(place.parts) <= 3  # noqa: PLR2004 - files/KIND/NAME
