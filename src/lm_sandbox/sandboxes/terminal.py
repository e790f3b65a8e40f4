"""What a terminal is started from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lm_sandbox.sandboxes.user import User


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """How many characters a terminal shows."""

    rows: int = 24
    columns: int = 80


@dataclass(frozen=True, slots=True)
class TerminalSpec:
    """One program to start on a pseudo-terminal; the rest is as for a command.

    Attributes:
        size: What the program finds at its start.
        name: By what another server knows it again when this one is killed; None ends it with the server.
    """

    argv: tuple[str, ...] = ("/bin/bash", "-l")
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    size: TerminalSize = TerminalSize()
    user: User = User.SANDBOX
    name: str | None = None
