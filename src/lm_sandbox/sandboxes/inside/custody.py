"""What a launcher keeps for a server that comes after its own was killed. Standard library only, as it is.

Each thing is some descriptors and a note, under the name of its sandbox and one of its own.
"""

import fcntl
import os
import select
import time
from typing import Any

import scroll_back  # type: ignore[import-not-found]

Message = dict[str, Any]

# Clear of every number that bwrap's descriptors are moved to.
SAFE_FD = 512
NAMES_AT_ONCE = 500
# A terminal, and what it has shown, have the same name after these.
TERMINAL, MEMORY = "terminal/", "memory/"
PIECE_BYTES = 64 * 1024
# Between two rounds: what comes in a burst is taken together, and no program keeps the launcher busy.
PAUSE_S = 0.005


class Custody:
    """Keeps things, names them, and gives them back as often as it is asked."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, tuple[str, list[int]]]] = {}

    def keep(self, request: Message, fds: list[int]) -> Message:
        """Keeps descriptors of a sandbox, and what is noted of them."""
        self.drop(request, [])
        own = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for fd in fds]
        self._kept.setdefault(request["sandbox"], {})[request["name"]] = (request["note"], own)
        return {}

    def drop(self, request: Message, fds: list[int]) -> Message:
        """Keeps something no longer."""
        del fds
        _close(self._kept.get(request["sandbox"], {}).pop(request["name"], ("", []))[1])
        return {}

    def names(self, request: Message, fds: list[int]) -> Message:
        """Names all that is kept, some hundred at a time."""
        del fds
        names = [(sandbox, name) for sandbox, kept in self._kept.items() for name in kept]
        start = request["start"]
        return {"names": names[start : start + NAMES_AT_ONCE]}

    def recall(self, request: Message, fds: list[int]) -> Message:
        """Gives back something that is kept, and goes on keeping it."""
        del fds
        note, own = self._kept[request["sandbox"]][request["name"]]
        return {"note": note, "sent": own}

    def forget(self, sandbox: str) -> None:
        """Keeps nothing of a sandbox."""
        for _, own in self._kept.pop(sandbox, {}).values():
            _close(own)

    def sandboxes(self) -> set[str]:
        """Names every sandbox of which something is kept."""
        return set(self._kept)

    def has(self, sandbox: str, name: str) -> bool:
        """Tells whether something is kept."""
        return name in self._kept.get(sandbox, {})

    def recorder(self) -> "Recorder":
        """Returns what takes what the terminals show."""
        shown = {}
        for kept in self._kept.values():
            for name, (_, own) in kept.items():
                _, is_terminal, after = name.rpartition(TERMINAL)
                memory = kept.get(MEMORY + after)
                if is_terminal and memory is not None:
                    shown[own[0]] = memory[1][0]
        return Recorder(shown)


class Recorder:
    """Takes what terminals show while no server is there, so that their programs never wait for one."""

    def __init__(self, shown: dict[int, int]) -> None:
        self._recordings = {}
        for terminal, file in shown.items():
            try:
                self._recordings[terminal] = scroll_back.Recording.load(file)
            except ValueError:
                continue  # Its server was killed before it began.
            self._recordings[terminal].leave()

    def watch(self, poll: "select.poll") -> None:
        """Has the terminals watched."""
        for terminal in self._recordings:
            poll.register(terminal, select.POLLIN)

    def take(self, ready: dict[int, int], poll: "select.poll") -> None:
        """Takes what is there."""
        for terminal in ready.keys() & self._recordings.keys():
            try:
                self._recordings[terminal].write(os.read(terminal, PIECE_BYTES))
            except BlockingIOError:
                continue
            except OSError:
                poll.unregister(terminal)
                del self._recordings[terminal]
        if ready.keys() & self._recordings.keys():
            time.sleep(PAUSE_S)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
