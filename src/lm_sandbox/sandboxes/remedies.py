"""What mends a host, as data: each step is what a person would type, and what `doctor --fix` does as root."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """A package of Debian and Ubuntu that has to be there."""

    name: str

    @property
    def shell(self) -> str:
        """What root would type."""
        return f"apt-get install --yes {self.name}"


@dataclass(frozen=True, slots=True)
class File:
    """A file that has to be there with this content.

    Attributes:
        path: Absolute.
        content: All of it.
        source: Where this content is on this machine already; None where it is only here.
    """

    path: str
    content: str
    source: str | None = None

    @property
    def shell(self) -> str:
        """What root would type."""
        if self.source is not None:
            return f"install -D --mode 644 {shlex.quote(self.source)} {shlex.quote(self.path)}"
        text = self.content.replace("\n", "\\n").replace("'", "'\\''").replace("%", "%%")
        folder = self.path.rpartition("/")[0]
        return f"mkdir -p {shlex.quote(folder)} && printf '{text}' > {shlex.quote(self.path)}"


@dataclass(frozen=True, slots=True)
class Run:
    """A command that has to be run."""

    argv: tuple[str, ...]

    @property
    def shell(self) -> str:
        """What root would type."""
        return shlex.join(self.argv)


Step = Package | File | Run


def by_hand(steps: tuple[Step, ...]) -> str:
    """Writes the steps as one line for a person who is not root."""
    return f"sudo sh -c {shlex.quote(' && '.join(step.shell for step in steps))}"


def advice(steps: tuple[Step, ...]) -> str:
    """Says how the steps are taken."""
    return f"Run `lm-sandbox doctor --fix` as root, or type: {by_hand(steps)}"
