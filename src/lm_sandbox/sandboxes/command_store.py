"""The records of commands that outlive their server, beside their logs."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lm_sandbox.sandboxes.commands import CommandRequest, CommandResult
from lm_sandbox.sandboxes.instant import Instant
from lm_sandbox.sandboxes.user import User

RECORD, LOG, NEW = ".json", ".log", ".new"


class CommandRecord(BaseModel):
    """What is remembered of a command: how it was asked for, without secrets, and how it ended.

    Attributes:
        id: Names it.
        argv: The program and its arguments.
        cwd: Where it was started.
        timeout_s: Its wall time.
        max_output_bytes: Bytes shown of each stream.
        output_limit_bytes: Written bytes after which it is killed.
        keep_stdin_open: Whether it takes input.
        detach: Whether ending it spares what has left its process group.
        checkpoint: The snapshot of the files as they were before it.
        started_at: When it was started.
        user: Who it ran as.
        result: How it ended; None while it runs.
        failure: Why that will never be known.
        boot: The start of the host that the next one is counted from.
        started_s: When it was started, in seconds from there.
    """

    id: str
    argv: tuple[str, ...]
    cwd: str
    timeout_s: float
    max_output_bytes: int
    output_limit_bytes: int
    keep_stdin_open: bool
    detach: bool
    checkpoint: str | None
    started_at: datetime
    user: User = User.SANDBOX
    result: CommandResult | None = None
    failure: str | None = None
    boot: str = ""
    started_s: float = 0.0

    @classmethod
    def of(cls, command_id: str, request: CommandRequest, started: Instant) -> "CommandRecord":
        """Describes a command that was just started."""
        return cls(
            id=command_id,
            argv=request.argv,
            cwd=request.cwd,
            timeout_s=request.timeout_s,
            max_output_bytes=request.max_output_bytes,
            output_limit_bytes=request.output_limit_bytes,
            keep_stdin_open=request.keep_stdin_open,
            detach=request.detach,
            checkpoint=request.checkpoint,
            user=request.user,
            started_at=started.wall,
            boot=started.boot,
            started_s=started.boot_s,
        )

    @property
    def started(self) -> Instant:
        """When it was started."""
        return Instant(self.started_at, self.boot, self.started_s)

    def request(self, left_s: float) -> CommandRequest:
        """Returns what was asked for, with so much time left."""
        return CommandRequest(
            argv=self.argv,
            cwd=self.cwd,
            timeout_s=left_s,
            max_output_bytes=self.max_output_bytes,
            output_limit_bytes=self.output_limit_bytes,
            keep_stdin_open=self.keep_stdin_open,
            detach=self.detach,
            checkpoint=self.checkpoint,
            user=self.user,
        )


class CommandStore:
    """The folder with the records and logs of one sandbox's commands.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, command_id: str) -> Path:
        """Returns where the log of a command is."""
        return self.folder / f"{command_id}{LOG}"

    def write(self, record: CommandRecord) -> None:
        """Writes a record, as a whole or not at all.

        Raises:
            OSError: the disk does not take it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.folder / f"{record.id}{NEW}"
        try:
            new.write_text(record.model_dump_json())
            new.replace(self.folder / f"{record.id}{RECORD}")
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def read(self) -> Iterator[CommandRecord]:
        """Gives every record that can be read, oldest first."""
        found = []
        for path in self.folder.glob(f"*{RECORD}"):
            with contextlib.suppress(OSError, ValidationError):
                found.append(CommandRecord.model_validate_json(path.read_bytes()))
        yield from sorted(found, key=lambda record: record.started_at)

    def remove(self, command_id: str) -> None:
        """Removes a record; its log removes itself."""
        (self.folder / f"{command_id}{RECORD}").unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes everything."""
        for path in self.folder.glob("*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
