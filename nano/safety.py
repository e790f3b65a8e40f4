"""Whether a command could change a file: what a request to read must never become."""

import re

CHANGERS = frozenset(
    [
        "rm",
        "rmdir",
        "mv",
        "cp",
        "ln",
        "touch",
        "mkdir",
        "mknod",
        "mkfifo",
        "chmod",
        "chown",
        "chgrp",
        "tee",
        "dd",
        "truncate",
        "shred",
        "unlink",
        "install",
        "rsync",
        "patch",
        "kill",
        "pkill",
        "killall",
        "reboot",
        "shutdown",
        "mount",
        "umount",
        "useradd",
        "userdel",
        "passwd",
        "crontab",
        "wget",
        "split",
        "csplit",
        "unzip",
        "zip",
        "gzip",
        "gunzip",
        "bzip2",
        "xz",
    ]
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PARTS = re.compile(r"[|;&\n`]+|\$\(|\)")
_HARMLESS = re.compile(r"\d?>&\d|\d?>>?\s*/dev/null")


def changes(command: str) -> bool:
    """Tells whether a command writes, moves or deletes anything, by its words and signs."""
    bare = _HARMLESS.sub(" ", _QUOTED.sub(" QUOTED ", command))
    if ">" in bare:
        return True
    return any(_changes(part.split()) for part in _PARTS.split(bare))


def _changes(words: list[str]) -> bool:
    while words and (
        "=" in words[0] or words[0] in {"sudo", "env", "time", "nohup", "exec", "xargs", "command"}
    ):
        if words[0] == "command" and words[1:2] == ["-v"]:
            return False
        words = words[1:]
    if not words:
        return False
    program = words[0].rsplit("/", 1)[-1]
    flags = [word for word in words[1:] if word.startswith("-")]
    if program == "sed":
        return any("i" in flag for flag in flags if not flag.startswith("--")) or "--in-place" in flags
    if program == "sort":
        return any(flag.startswith("-o") for flag in flags)
    if program == "find":
        return any(flag in {"-delete", "-exec", "-execdir", "-ok", "-fprint"} for flag in flags)
    if program == "tar":
        return not any("t" in flag for flag in flags)
    if program == "curl":
        return any(flag in {"-o", "-O", "--output"} for flag in flags)
    return program in CHANGERS
