"""The shapes of the native surface's file routes."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, Field

from lm_sandbox.sandboxes.editing import Edit
from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.files import (
    Change,
    Copy,
    FileEvent,
    FileInfo,
    FilePage,
    FileQuery,
    GrepQuery,
    MakeFolder,
    MatchPage,
    Move,
    SetMode,
)
from lm_sandbox.surfaces.native.schemas import Body

Mode = Annotated[str, Field(pattern=r"^0?[0-7]{3}$", examples=["0644"], description="in octal")]
Limit = Annotated[int, Field(ge=1, le=1000)]
MAX_PATTERN = 4096
MAX_EDIT = 4 * 1024 * 1024


def mode_of(text: str | None) -> int | None:
    """Reads permission bits."""
    return None if text is None else int(text, 8)


def shown(text: str) -> str:
    """Makes text that can be written as JSON; bytes that are no UTF-8 become U+FFFD."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def quoted(path: str) -> str:
    """Writes a path as it stands in a URL, without loss."""
    return quote(path, safe="/", errors="surrogateescape")


def unquoted(text: str) -> str:
    """Reads what `quoted` wrote."""
    return unquote_to_bytes(text).decode(errors="surrogateescape")


class FileOut(BaseModel):
    """A file, folder or link. `url_path` names it without loss, also where bytes are no UTF-8."""

    path: str
    url_path: str = Field(description="percent-encoded, to stand behind /files in a URL")
    kind: str
    size: int
    mode: str
    modified_at: datetime
    target: str | None = Field(description="where a link points")

    @classmethod
    def of(cls, info: FileInfo, folder: str | None = None) -> Self:
        """Renders what is at a path; in a listing, of the folder."""
        path = info.path if folder is None else f"{folder.rstrip('/')}/{info.path}"
        return cls(
            path=shown(path),
            url_path=quoted(path),
            kind=info.kind,
            size=info.size,
            mode=f"{info.mode:04o}",
            modified_at=datetime.fromtimestamp(_seconds(info.modified_ns), UTC),
            target=None if info.target is None else shown(info.target),
        )


def _seconds(modified_ns: int) -> float:
    """Keeps a time that a hostile file may have within what a date can say."""
    return min(max(modified_ns / 1e9, 0.0), 253_402_300_799.0)


class FileList(BaseModel):
    """A page of files; `next_after` goes into `after` for the next one."""

    data: list[FileOut]
    next_after: str | None

    @classmethod
    def of(cls, page: FilePage, folder: str) -> Self:
        """Renders a page of a folder."""
        last = quoted(page.entries[-1].path) if page.more and page.entries else None
        return cls(data=[FileOut.of(info, folder) for info in page.entries], next_after=last)


class MkdirBody(Body):
    """Makes a folder and those above it."""

    action: Literal["mkdir"]
    mode: Mode | None = None

    def to_change(self, path: FilePath) -> Change:
        """Returns what the service takes."""
        return MakeFolder(path, mode_of(self.mode))


class ChmodBody(Body):
    """Sets the permission bits."""

    action: Literal["chmod"]
    mode: Mode

    def to_change(self, path: FilePath) -> Change:
        """Returns what the service takes."""
        return SetMode(path, int(self.mode, 8))


class MoveBody(Body):
    """Renames, or moves to another file system."""

    action: Literal["move"]
    to: str
    overwrite: bool = False

    def to_change(self, path: FilePath) -> Change:
        """Returns what the service takes."""
        return Move(path, file_path(self.to, "to"), self.overwrite)


class CopyBody(Body):
    """Copies a file or a folder with all in it."""

    action: Literal["copy"]
    to: str
    overwrite: bool = False

    def to_change(self, path: FilePath) -> Change:
        """Returns what the service takes."""
        return Copy(path, file_path(self.to, "to"), self.overwrite)


ChangeBody = Annotated[MkdirBody | MoveBody | CopyBody | ChmodBody, Field(discriminator="action")]


class EditBody(Body):
    """Replaces text that is in a file exactly `expected` times."""

    path: str
    old: str = Field(min_length=1, max_length=MAX_EDIT)
    new: str = Field(max_length=MAX_EDIT)
    expected: int = Field(1, ge=1)

    def to_edit(self) -> Edit:
        """Returns what the service takes."""
        return Edit(file_path(self.path), self.old, self.new, self.expected)


class SearchBody(Body):
    """Finds files by `glob`, or lines by `pattern` in the files that match `glob`."""

    path: str = "/workspace"
    glob: str | None = Field(None, min_length=1, max_length=MAX_PATTERN, examples=["**/*.py"])
    pattern: str | None = Field(None, min_length=1, max_length=MAX_PATTERN, description="regular expression")
    literal: bool = Field(False, description="take the pattern as plain text")
    ignore_case: bool = False
    after: str | None = Field(None, description="of a search by glob alone: the page before's `next_after`")
    limit: Limit = 100

    def to_files(self) -> FileQuery:
        """Returns the search for files."""
        glob = self.glob or "**"
        return FileQuery(file_path(self.path), self.limit, glob=glob, after=unquoted(self.after or ""))

    def to_lines(self, pattern: str) -> GrepQuery:
        """Returns the search for lines."""
        return GrepQuery(
            file_path(self.path),
            pattern,
            self.limit,
            literal=self.literal,
            ignore_case=self.ignore_case,
            glob=self.glob,
        )


class MatchOut(BaseModel):
    """A line that matches; `column` counts characters from 1."""

    path: str
    url_path: str
    line: int
    column: int
    text: str


class SearchOut(BaseModel):
    """What was found: files without a pattern, lines with one; `truncated` means that there is more."""

    files: list[FileOut] = Field(default_factory=list)
    matches: list[MatchOut] = Field(default_factory=list)
    truncated: bool
    next_after: str | None = None

    @classmethod
    def of_files(cls, page: FilePage, folder: str) -> Self:
        """Renders a search for files."""
        found = FileList.of(page, folder)
        return cls(files=found.data, truncated=page.more, next_after=found.next_after)

    @classmethod
    def of_lines(cls, page: MatchPage) -> Self:
        """Renders a search for lines."""
        matches = [
            MatchOut(
                path=shown(match.path),
                url_path=quoted(match.path),
                line=match.line,
                column=match.column,
                text=shown(match.text),
            )
            for match in page.matches
        ]
        return cls(matches=matches, truncated=page.more)


class ArchiveOut(BaseModel):
    """What was extracted."""

    entries: int


class FileEventOut(BaseModel):
    """A change; `to` is where something was moved."""

    path: str | None
    to: str | None

    @classmethod
    def of(cls, event: FileEvent) -> Self:
        """Renders a change."""
        path, to = (None if part is None else shown(part) for part in (event.path, event.to))
        return cls(path=path, to=to)
