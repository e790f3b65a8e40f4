"""The processes of this machine, among which there are others' too."""

import os
from contextlib import suppress
from pathlib import Path


def pids_with(text: str) -> list[int]:
    """Finds processes by what stands in their command lines, between NULs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
