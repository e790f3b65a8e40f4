"""Examples as they stand in pages: commands that are typed, and what they print."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROMPT = "$ "
END = "the-example-is-over"
# Each time others: ids, and the host users of sandboxes.
IDS = re.compile(r"\b(sb|cmd|sh|snap|resp|req|key|cntr|file|term)_[0-9a-f]{8,}\b")


@dataclass(frozen=True, slots=True)
class Example:
    """A command, and what it prints; `...` stands for anything."""

    command: str
    printed: str

    def matches(self, found: str) -> bool:
        """Whether what was printed is what the page says."""
        wanted = re.escape(_anonymous(self.printed)).replace(re.escape("..."), ".*")
        return re.fullmatch(wanted, _anonymous(found), re.DOTALL) is not None


def examples_of(page: str) -> list[Example]:
    """Finds the examples of a page, in order."""
    found: list[Example] = []
    for block in BLOCK.findall(page):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = piece.partition("\n")
            found.append(Example(command, printed))
    return found


def _anonymous(text: str) -> str:
    return IDS.sub(r"\1_ID", text.rstrip("\n"))


class Bash:
    """A bash in which examples are typed one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def started(cls, folder: Path, env: Mapping[str, str]) -> Iterator[Self]:
        """Starts one in a folder."""
        with subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=folder, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            yield cls(process)
            process.kill()

    def type(self, command: str) -> str:
        """Runs a command and returns what it printed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{END}\\n'\n")
        stdin.flush()
        lines: list[str] = []
        for line in stdout:
            if line == f"{END}\n":
                break
            lines.append(line)
        # The line end before the mark is ours.
        return "".join(lines)[:-1]
