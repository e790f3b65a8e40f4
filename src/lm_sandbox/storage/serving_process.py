"""Tells servers on one host apart, and whether one still runs."""

import os
from pathlib import Path


def this_server() -> str:
    """Names this process as no other one on this host is or was since it came up."""
    return server_of(os.getpid())


def is_running(server: str) -> bool:
    """Whether the process of this name still runs."""
    try:
        return server_of(int(server.partition("-")[0])) == server
    except (OSError, ValueError):
        return False


def server_of(pid: int) -> str:
    """Names a process; raises OSError where there is none."""
    # A number is given to another process later, but then that one was started later.
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    state, *fields = stat[stat.rindex(b")") + 2 :].split()
    # A killed one is a zombie until its parent has seen that.
    ended = "-ended" if state in {b"Z", b"X"} else ""
    return f"{pid}-{int(fields[18])}{ended}"
