"""`lm-sandbox doctor --fix`: takes the steps that mend this host."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.remedies import File, Package, Run, Step

FILE_MODE = 0o644
LIMIT_S = 900

Runner = Callable[[Sequence[str]], int]


def steps_for(checks: Sequence[Check]) -> list[Step]:
    """Lists what mends everything that fails, each step once."""
    steps = [step for check in checks if not check.ok for step in check.remedy]
    return list(dict.fromkeys(steps))


class Mender:
    """Takes steps on a system.

    Args:
        root: Where the system's files are; `/` is this host's own.
        run: Runs a command and returns its exit status.
    """

    def __init__(self, root: Path, run: Runner) -> None:
        self._root = root
        self._run = run

    def take(self, step: Step) -> str | None:
        """Takes one step; returns what went wrong, or None.

        It may be taken again: a file that is as it should be is left alone.
        """
        try:
            match step:
                case Package(name):
                    return self._install(name)
                case File(path, content):
                    self._write(path, content)
                    return None
                case Run(argv):
                    return _problem(argv, self._run(argv))
        except OSError as error:
            return f"{error.filename or step.shell}: {error.strerror}"

    def _install(self, package: str) -> str | None:
        install = ("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", package)
        if self._run(install) == 0:
            return None
        # The lists of packages may be older than the packages.
        self._run(("apt-get", "update", "--quiet=2"))
        return _problem(install, self._run(install))

    def _write(self, path: str, content: str) -> None:
        place = self._root / path.lstrip("/")
        if place.is_file() and not place.is_symlink() and place.read_text() == content:
            return
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A rename, so that nobody reads half of it, and a link that stands there is not followed.
        part = place.with_name(f".{place.name}.part")
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(fd, "w") as file:
            file.write(content)
            os.fchmod(fd, FILE_MODE)
        part.replace(place)


def run_here(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> int:
    """Runs a command on this host; 127 where there is none such, as a shell says."""
    program = shutil.which(argv[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        return 127
    try:
        return subprocess.run(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            env={**env, "DEBIAN_FRONTEND": "noninteractive"},
            timeout=LIMIT_S,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return 124


def _problem(argv: Sequence[str], status: int) -> str | None:
    return None if status == 0 else f"{argv[0]} ended with status {status}"
