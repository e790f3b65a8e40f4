"""Finds and kills everything that a command started, whatever sessions and parents that made up.

A process belongs to a command when it is in its session, descends from it, or carries its cookie in
the environment that it was started with. A process that clears its environment, makes a session of
its own and lets its parents die can leave the command, but never the sandbox: its limits still hold
it, and it ends with the sandbox.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.sandboxes.inside.moment import Moment

COOKIE = "LM_SANDBOX_COMMAND"
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one process; `started` in ticks since the host came up."""

    pid: int
    parent: int
    session: int
    cookie: bool
    started: int = 0


def belonging(rows: Iterable[Row], root: int) -> set[int]:
    """Chooses the processes of the command whose first process is `root`."""
    rows = list(rows)
    chosen = {row.pid for row in rows if row.cookie or root in {row.pid, row.session}}
    while True:
        more = {row.pid for row in rows if row.parent in chosen} - chosen
        if not more:
            return chosen
        chosen |= more


def read_rows(pids: Iterable[int], command: str) -> list[Row]:
    """Reads the processes that still exist."""
    cookie = f"{COOKIE}={command}".encode()
    rows = []
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            fields = stat[stat.rindex(b")") + 2 :].split()
            state, parent, session, started = fields[0], fields[1], fields[3], fields[19]
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if state not in {b"Z", b"X"}:
                rows.append(Row(pid, int(parent), int(session), cookie in environ, int(started)))
    return rows


def kill_tree(
    members: Callable[[], Iterable[int]],
    freeze: Callable[[bool], None],
    root: int,
    command: str,
) -> None:
    """Kills all that belongs to a command; stopping the sandbox meanwhile, so that nothing slips by.

    Args:
        members: Lists the processes of the sandbox.
        freeze: Stops (True) or goes on with (False) all of them.
        root: The command's first process.
        command: Its id.
    """
    for _ in range(ROUNDS):
        freeze(True)
        try:
            doomed = belonging(read_rows(members(), command), root)
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            freeze(False)
        if not doomed:
            return


@dataclass(frozen=True, slots=True)
class Interruption:
    """How a command is interrupted.

    Attributes:
        root: The command's first process, which gets a signal.
        command: Its id.
        signal: The signal.
        since: What was started later is killed.
    """

    root: int
    command: str
    signal: int
    since: Moment


def interrupt_tree(
    members: Callable[[], Iterable[int]], freeze: Callable[[bool], None], interruption: Interruption
) -> None:
    """Sends a command's first process a signal, and kills what it started since a moment.

    Args:
        members: Lists the processes of the sandbox.
        freeze: Stops (True) or goes on with (False) all of them.
        interruption: What is done.
    """
    root = interruption.root
    for number in range(ROUNDS):
        freeze(True)
        try:
            # The signal waits until what the process waits for has been killed.
            if number == 0:
                os.kill(root, interruption.signal)
            rows = read_rows(members(), interruption.command)
            doomed = younger(rows, root, interruption.since)
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # It has ended by itself.
        finally:
            freeze(False)
        if not doomed:
            return


def younger(rows: list[Row], root: int, since: Moment) -> set[int]:
    """Chooses what the process `root` started after a moment, without itself."""
    started = {row.pid: Moment(row.started, row.pid) for row in rows}
    return {pid for pid in belonging(rows, root) - {root} if started[pid] > since}


def kill_all(
    members: Callable[[], Iterable[int]], freeze: Callable[[bool], None], spared: frozenset[int]
) -> bool:
    """Kills everything that belongs to a sandbox but some processes, and tells whether nothing is left.

    Args:
        members: Lists the processes of the sandbox.
        freeze: Stops (True) or goes on with (False) all of them.
        spared: What stays.
    """
    for number in range(ROUNDS):
        freeze(True)
        try:
            doomed = [pid for pid in members() if pid not in spared and _is_alive(pid)]
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            freeze(False)
        if not doomed:
            return True
        # What was killed needs a moment to die, the longer the busier the host is.
        time.sleep(number / 1000)
    return False


def parent_of(pid: int) -> int:
    """Returns the parent of a process that exists."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return not stat[stat.rindex(b")") + 2 :].startswith((b"Z", b"X"))
    return False
