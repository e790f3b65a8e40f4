"""What has to be known of a terminal when its server was killed, beside what it has shown."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lm_sandbox.sandboxes.limits import Limit
from lm_sandbox.sandboxes.notebook import Notebook
from lm_sandbox.sandboxes.process import Exit
from lm_sandbox.sandboxes.terminal import TerminalSize, TerminalSpec
from lm_sandbox.sandboxes.user import User

ABOUT, NOW = 0, 1
# The program's arguments, each byte written as six; the size and the end.
ROOMS = (1024 * 1024, 4096)


@dataclass(slots=True)
class TerminalNotes:
    """Writes it down as it changes; without the variables, which only the start needs.

    Attributes:
        notebook: Holds it.
        spec: What was asked for.
        started_at: When it was opened.
        size: How large it is now.
        exited: How its program ended; None while it runs.
    """

    notebook: Notebook
    spec: TerminalSpec
    started_at: datetime
    size: TerminalSize
    exited: Exit | None = None

    @classmethod
    def new(cls, spec: TerminalSpec, started_at: datetime) -> "TerminalNotes":
        """Begins them."""
        notes = cls(Notebook.new("terminal", ROOMS), spec, started_at, spec.size)
        told = {"argv": spec.argv, "cwd": spec.cwd, "user": spec.user, "started_at": started_at.isoformat()}
        notes.notebook.write(ABOUT, json.dumps(told).encode())
        notes.note(spec.size)
        return notes

    @classmethod
    def load(cls, name: str, file: int) -> "TerminalNotes":
        """Reads those of an earlier server.

        Args:
            name: Of the terminal.
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
        size = TerminalSize(*now["size"])
        spec = TerminalSpec(
            tuple(about["argv"]), about["cwd"], size=size, user=User(about["user"]), name=name
        )
        exited = _exit_of(*now["exited"]) if now["exited"] else None
        return cls(notebook, spec, datetime.fromisoformat(about["started_at"]), size, exited)

    def note(self, size: TerminalSize, exited: Exit | None = None) -> None:
        """Notes how it stands."""
        self.size, self.exited = size, exited
        end = exited and [exited.code, exited.signal, sorted(exited.limits)]
        told = {"size": [size.rows, size.columns], "exited": end}
        self.notebook.write(NOW, json.dumps(told).encode())


def _exit_of(code: int | None, signal: int | None, limits: Iterable[str]) -> Exit:
    return Exit(code, signal, frozenset(map(Limit, limits)))
