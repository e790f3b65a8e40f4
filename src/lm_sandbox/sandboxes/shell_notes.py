"""What has to be known of a shell when its server was killed; in memory only, as variables may be secrets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from lm_sandbox.sandboxes.notebook import Notebook
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.sandboxes.user import User

KIB = 1024
# What comes between two commands is shown with the next one; of more than this the beginning is lost.
HELD_BYTES = 64 * KIB
ABOUT, NOW = 0, 1
HELD = {Stream.STDOUT: 2, Stream.STDERR: 3}
# Two of what a request may hold; a folder's name of 4 KiB, each byte written as six.
ROOMS = (16 * KIB * KIB, 64 * KIB, HELD_BYTES, HELD_BYTES)


@dataclass(frozen=True, slots=True)
class About:
    """What never changes of a shell.

    Attributes:
        env: Variables that it starts with.
        user: Who it runs as.
        created_at: When it was made.
    """

    env: Mapping[str, str]
    user: User
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Now:
    """How a shell stands.

    Attributes:
        cwd: The folder that it is in.
        bash: Which of its bashes is the present one, counted from 1; 0 before the first.
        past: Which of the earlier ones have left something running.
        number: The number of the last command that was sent.
        since: The moment of that.
        busy: Whether it has not ended.
        command: Its id, where it goes on when the server is killed.
        status: Its exit status, as soon as bash has told it.
    """

    cwd: str
    bash: int = 0
    past: tuple[int, ...] = ()
    number: int = 0
    since: str | None = None
    busy: bool = False
    command: str | None = None
    status: int | None = None


@dataclass(slots=True)
class ShellNotes:
    """Writes all of it down as it changes.

    Attributes:
        notebook: Holds it.
        about: What never changes.
        now: How the shell stands.
    """

    notebook: Notebook
    about: About
    now: Now
    held: dict[Stream, bytearray] = field(default_factory=lambda: {stream: bytearray() for stream in Stream})

    @classmethod
    def new(cls, about: About, cwd: str) -> "ShellNotes":
        """Begins them."""
        notes = cls(Notebook.new("shell", ROOMS), about, Now(cwd))
        told = {"env": dict(about.env), "user": about.user, "created_at": about.created_at.isoformat()}
        notes.notebook.write(ABOUT, json.dumps(told).encode())
        notes.note()
        return notes

    @classmethod
    def load(cls, file: int) -> "ShellNotes":
        """Reads those of an earlier server.

        Args:
            file: Owned from now on.

        Raises:
            ValueError: they were never begun.
        """
        notebook = Notebook(file, ROOMS)
        try:
            about: dict[str, Any] = json.loads(notebook.read(ABOUT))
            now: dict[str, Any] = json.loads(notebook.read(NOW))
        except ValueError:
            notebook.close()
            raise
        created_at = datetime.fromisoformat(about["created_at"])
        notes = cls(
            notebook,
            About(about["env"], User(about["user"]), created_at),
            Now(**{**now, "past": tuple(now["past"])}),
        )
        for stream, page in HELD.items():
            notes.held[stream] += notebook.read(page)
        return notes

    def note(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of `Now`
        """Notes how the shell stands."""
        self.now = replace(self.now, **changes)
        told = _written(self.now)
        self.notebook.write(NOW, told if len(told) <= ROOMS[NOW] else _written(replace(self.now, cwd="/")))

    def hold(self, stream: Stream, data: bytes) -> None:
        """Notes what came between two commands."""
        held = self.held[stream]
        held += data
        del held[:-HELD_BYTES]
        self.notebook.write(HELD[stream], bytes(held))

    def take(self, stream: Stream) -> bytes:
        """Returns what was held, and forgets it."""
        held = bytes(self.held[stream])
        if held:
            self.held[stream].clear()
            self.notebook.write(HELD[stream], b"")
        return held

    @property
    def state(self) -> bytes | None:
        """What the last bash knew at its end, where it could tell."""
        return self.notebook.leaf() or None

    def note_state(self, state: bytes) -> None:
        """Notes what a bash knew at its end; nothing where another one has come."""
        self.notebook.write_leaf(state)


def _written(now: Now) -> bytes:
    return json.dumps({name: getattr(now, name) for name in _FIELDS}).encode()


_FIELDS = [one.name for one in fields(Now)]
