"""Random names, paths, words and numbers; a tenth of the names is kept for evaluation."""

import re
import string
import tomllib
import zlib
from pathlib import Path
from random import Random

_LISTS = {
    name: text.split()
    for name, text in tomllib.loads(Path(__file__).with_name("words.toml").read_text()).items()
}
WORDS = _LISTS["names"]
MANY = _LISTS["many"]
# Words that look like commands: as a name they must not drive what is done.
VERBS = _LISTS["verbs"]
EXTENSIONS = _LISTS["extensions"]
TEXT_WORDS = _LISTS["text"]
ROOTS = (
    "/etc", "/tmp", "/var/log", "/usr/share", "/srv", "/data", "/opt", "/home/sandbox", "/workspace",
    "/usr/lib", "/usr/bin", "/var/tmp", "/mnt", "/proc", "/sys", "~", ".", "/usr/local",
)  # fmt: skip
SYSTEM_FILES = (
    "/etc/passwd", "/etc/hostname", "/etc/os-release", "/etc/hosts", "/etc/group", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/version", "/proc/uptime", "/proc/loadavg", "/etc/debian_version",
    "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/hostname", "/proc/self/status", "/etc/shells",
    "/proc/sys/kernel/ostype", "/proc/sys/kernel/random/uuid", "/proc/cmdline", "/etc/resolv.conf",
    "/etc/fstab", "/etc/profile", "/proc/mounts", "/etc/shadow", "/proc/filesystems", "/proc/stat",
    "/proc/sys/kernel/osrelease", "/proc/sys/kernel/pid_max", "/etc/services", "/etc/protocols",
)  # fmt: skip
SYSTEM_DIRS = (
    "/", "/etc", "/tmp", "/usr", "/usr/bin", "/usr/share", "/var", "/home", "/proc", "/dev", "/usr/lib",
    "/usr/local", "/usr/local/bin", "/var/log", "/workspace", "/bin", "/sys", "/root", "~", "..", "/opt",
)  # fmt: skip
KIN = 0.25
KIN_NAMES = (
    "{}", "{}", "{}_backup", "{}_old", "{}2", "new_{}", "{}-copy", "old_{}", "{}-bak", "{}_new", "my_{}", "{}1", "the_{}", "{}s",
    "{}_2025", "{}_final", "{}_v2", "backup_{}",
)  # fmt: skip
_ONSETS = _LISTS["onsets"]
_VOWELS = _LISTS["vowels"]
_CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "x", "ck", "nd", "rt", "z", "p"]


_MARK = re.compile(r"([XTW])q\d{4}q\1")


class Names:
    """Draws arguments.

    Args:
        rng: Where chance comes from.
        unseen: Whether to draw the names kept for evaluation, or the others.
        marked: Draw marks that `fill` replaces, so that one recording serves many names.
    """

    def __init__(self, rng: Random, *, unseen: bool = False, marked: bool = False) -> None:
        self.rng = rng
        self.unseen = unseen
        self.marked = marked
        self._marks = 0

    def fills(self, text: str) -> dict[str, str]:
        """Draws something new for every mark in a text."""
        drawn: dict[str, str] = {}
        stems: list[str] = []
        for mark in _MARK.finditer(text):
            if mark[0] not in drawn:
                drawn[mark[0]] = self._fill(mark[1], stems)
        return drawn

    def _fill(self, kind: str, stems: list[str]) -> str:
        if kind != "X":
            return self._text() if kind == "T" else self._word()
        # Backups and new versions are called nearly like what they come from.
        kin = bool(stems) and self.rng.random() < KIN
        stem = self.rng.choice(KIN_NAMES).format(stems[-1]) if kin else self._stem_of_kind()
        stems.append(stem)
        return stem

    def _mark(self, kind: str) -> str:
        self._marks = self._marks % 9999 + 1
        return f"{kind}q{self._marks:04}q{kind}"

    def _draw_word(self) -> str:
        rng = self.rng
        kind = rng.random()
        if kind < 0.12:
            return rng.choice(WORDS)
        if kind < 0.58:
            return rng.choice(MANY)
        if kind < 0.68:
            return rng.choice(VERBS)
        if kind < 0.94:
            syllables = range(rng.choice([1, 1, 2, 2, 2]))
            return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in syllables)
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(1, 6)))

    def _stem(self) -> str:
        rng = self.rng
        stem = self._draw_word()
        while rng.random() < 0.15:
            stem += rng.choice("_-") + self._draw_word()
        if rng.random() < 0.13:
            stem += rng.choice(["", "", "_", "-"]) + str(rng.randint(0, rng.choice([9, 99, 2030])))
        style = rng.random()
        if style < 0.04:
            return stem.upper()
        if style < 0.14:
            return stem.title() if style < 0.11 else stem.capitalize()
        return stem

    def stem(self) -> str:
        """Draws a name without an extension, from the seen or the unseen ones."""
        return self._mark("X") if self.marked else self._stem_of_kind()

    def _stem_of_kind(self) -> str:
        while True:
            stem = self._stem()
            if (zlib.crc32(stem.encode()) % 10 == 0) == self.unseen and stem not in WORDS + VERBS:
                return stem
            if not self.unseen and stem in WORDS + VERBS:
                return stem

    def word(self) -> str:
        """Draws one plain word, such as what to search for."""
        return self._mark("W") if self.marked else self._word()

    def _word(self) -> str:
        return self.rng.choice(TEXT_WORDS) if self.rng.random() < 0.5 else self._stem_of_kind()

    def file(self, extension: str | None = None) -> str:
        """Draws a file name without a folder."""
        rng = self.rng
        ending = extension or rng.choice(EXTENSIONS)
        name = f"{self.stem()}.{ending}"
        kind = rng.random()
        if extension is None and kind < 0.04:
            return f".{self.stem()}"
        if extension is None and kind < 0.08:
            return rng.choice(
                [
                    "Makefile",
                    "README",
                    "Dockerfile",
                    "LICENSE",
                    "CHANGELOG",
                    ".env",
                    ".gitignore",
                    "__init__.py",
                    "README.md",
                ]
            )
        return name

    def folder(self) -> str:
        """Draws the name of a folder, sometimes nested."""
        return "/".join(self.stem() for _ in range(self.rng.choice([1, 1, 1, 1, 1, 2, 2])))

    def path(self, extension: str | None = None) -> str:
        """Draws a file by name alone, or with a relative, home or absolute folder."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.55:
            return self.file(extension)
        if kind < 0.72:
            return f"{self.folder()}/{self.file(extension)}"
        if kind < 0.78:
            return f"{rng.choice(['./', '../', '~/'])}{self.file(extension)}"
        if kind < 0.88 or extension:
            return f"{rng.choice(ROOTS[:9])}/{self.file(extension)}"
        if kind < 0.93:
            return f"{rng.choice(ROOTS[:9])}/{self.folder()}/{self.file()}"
        return rng.choice(SYSTEM_FILES)

    def directory(self) -> str:
        """Draws a folder, by name or by path."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.55:
            return self.folder()
        if kind < 0.7:
            return f"{rng.choice(ROOTS[:9])}/{self.folder()}"
        if kind < 0.75:
            return f"~/{self.folder()}"
        return rng.choice(SYSTEM_DIRS)

    def text(self) -> str:
        """Draws what a person would write into a file."""
        return self._mark("T") if self.marked else self._text()

    def _text(self) -> str:
        rng = self.rng
        words = [
            rng.choice(TEXT_WORDS) if rng.random() < 0.75 else self._draw_word()
            for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6]))
        ]
        text = " ".join(words)
        if rng.random() < 0.15:
            text = text.capitalize()
        if rng.random() < 0.1:
            text += f" {rng.randint(0, 9999)}"
        if rng.random() < 0.06:
            text += rng.choice(["!", ".", "?"])
        return text

    def number(self) -> int:
        """Draws a whole number of one to five digits."""
        return self.rng.randint(0, 10 ** self.rng.choice([1, 2, 2, 2, 3, 3, 3, 4, 5]))

    def few(self) -> int:
        """Draws a small count."""
        return self.rng.choice([1, 2, 3, 4, 5, 5, 6, 7, 8, 10, 10, 12, 15, 20, 25, 30, 50, 100])


def fill(text: str, fills: dict[str, str]) -> str:
    """Puts names in the place of marks."""
    return _MARK.sub(lambda mark: fills.get(mark[0], mark[0]), text)
