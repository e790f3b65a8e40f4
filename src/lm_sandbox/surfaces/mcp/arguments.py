"""What each tool takes; the schemas that clients get are made from these."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.editing import Edit
from lm_sandbox.sandboxes.file_path import FilePath, file_path
from lm_sandbox.sandboxes.files import FileQuery
from lm_sandbox.sandboxes.sandbox import NewCommand

WORKSPACE = "/workspace"
# Hosts give up on a call after 60 seconds or so.
MOST_WAIT_S = 45.0

Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Path = Annotated[str, Field(min_length=1, description=f"absolute, or from {WORKSPACE} on")]
CommandId = Annotated[str, Field(description="as bash has told it", max_length=64)]
Wait = Annotated[float, Field(ge=0, le=MOST_WAIT_S)]


class Encoding(StrEnum):
    """How bytes stand in a text."""

    UTF8 = "utf-8"
    BASE64 = "base64"

    def bytes_of(self, text: str) -> bytes:
        """Reads the bytes.

        Raises:
            Invalid: the text is not Base64.
        """
        if self is Encoding.UTF8:
            return text.encode()
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise Invalid("content is not Base64.", field="content") from error


class Arguments(BaseModel):
    """What every tool takes; unknown names are errors, so that nothing is left undone in silence."""

    model_config = ConfigDict(extra="forbid")

    sandbox: str | None = Field(
        None,
        max_length=128,
        description="id or name of another sandbox, such as create_sandbox gives; else your own is used",
    )


class Bash(Arguments):
    """A command."""

    command: Text = Field(description="what bash runs")
    cwd: Path = WORKSPACE
    timeout_s: float | None = Field(None, gt=0, description="ended after so many seconds; 120 by default")
    wait_s: Wait = Field(MOST_WAIT_S, description="then it goes on by itself, and bash_output shows more")
    background: bool = Field(False, description="do not wait at all")

    def to_new(self) -> NewCommand:
        """Returns what the service takes."""
        return NewCommand(self.command, cwd=path_of(self.cwd, "cwd"), timeout_s=self.timeout_s)


class BashOutput(Arguments):
    """A look at a command."""

    command_id: CommandId
    offset: int | None = Field(None, ge=0, description="byte from which on to read; else head and tail")
    wait_s: Wait = Field(0, description="wait so many seconds for its end")


class BashStop(Arguments):
    """The end of a command."""

    command_id: CommandId


class ReadFile(Arguments):
    """Lines of a file."""

    path: Path
    start_line: int = Field(1, ge=1)
    max_lines: int | None = Field(None, ge=1)


class WriteFile(Arguments):
    """The whole content of a file."""

    path: Path
    content: str
    encoding: Encoding = Field(Encoding.UTF8, description="base64 for bytes that are no text")


class EditFile(Arguments):
    """Text in a file, to be replaced."""

    path: Path
    old_string: str = Field(min_length=1, description="exactly as it stands in the file")
    new_string: str
    expected_replacements: int = Field(1, ge=1, description="how often old_string is there")

    def to_edit(self) -> Edit:
        """Returns what the editor takes."""
        return Edit(path_of(self.path), self.old_string, self.new_string, self.expected_replacements)


class ListFiles(Arguments):
    """A look into a folder."""

    path: Path = WORKSPACE
    recursive: bool = False
    glob: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="such as *.py; ** goes through folders"
    )
    limit: int = Field(200, ge=1, le=1000)
    after: str | None = Field(None, description="where the page before has ended")

    def to_query(self) -> FileQuery:
        """Returns what the service takes."""
        recursive = self.recursive or "**" in (self.glob or "")
        after = unquote_to_bytes(self.after or "").decode(errors="surrogateescape")
        return FileQuery(path_of(self.path), self.limit, recursive, self.glob, after)


class CreateSandbox(BaseModel):
    """A new sandbox."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=128, pattern=r"^[\w][\w .:@-]*$")] | None = Field(
        None, description="unique among yours"
    )


def path_of(text: str, field: str = "path") -> FilePath:
    """Reads a path, which may be relative to the workspace.

    Raises:
        Invalid: no file can have it.
    """
    return file_path(text if text.startswith("/") else f"{WORKSPACE}/{text}", field)
