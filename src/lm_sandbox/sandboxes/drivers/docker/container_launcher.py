"""The launcher of the Docker driver: it also ends containers when no server comes, and takes output of execs.

Run as a file with `python -I -S`, as the launcher that it extends; standard library only.
"""

import errno
import os
import sys
from typing import Any

# Their folder first: what it imports is looked up there.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../../inside")  # noqa: PTH100, PTH120
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
import engine_socket  # type: ignore[import-not-found]
import pump  # type: ignore[import-not-found]
import volumes  # type: ignore[import-not-found]

# Last, as it lets nothing more be imported.
import launcher  # type: ignore[import-not-found]  # isort: skip


class ContainerLauncher(launcher.Launcher):  # type: ignore[misc]
    """Knows the engine and under which labels its containers are."""

    engine = ""
    succession: Any

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.labels: set[str] = set()
        self.halted: set[str] = set()

    def do_zygote(self, request: launcher.Message, fds: list[int]) -> launcher.Message:
        """Forks a zygote."""
        self.halted |= set(request["cgroups"])
        return super().do_zygote(request, fds)

    def do_containers(self, request: launcher.Message, fds: list[int]) -> launcher.Message:
        """Ends the containers of a label, too, when no server comes."""
        del fds
        self.engine = request["engine"]
        self.labels.add(request["label"])
        return {}

    def do_settled(self, request: launcher.Message, fds: list[int]) -> launcher.Message:
        """There are no containers left to be ended."""
        del request, fds
        self.labels.clear()
        return {}

    def do_read_only(self, request: launcher.Message, fds: list[int]) -> launcher.Message:
        """Lets volumes only be read; descriptor: the mount namespace that they are in."""
        pid = os.fork()
        if pid == 0:
            launcher._child(lambda: volumes.make_read_only(launcher.LIBC, request, fds[0]))  # noqa: SLF001
        if os.waitpid(pid, 0)[1] != 0:
            raise OSError(errno.EIO, "")
        return {}

    def do_pump(self, request: launcher.Message, fds: list[int]) -> launcher.Message:
        """Forks what starts an exec and takes its output; descriptors: stdout, stderr, its end, stdin."""
        pid = os.fork()
        if pid == 0:
            launcher._child(lambda: pump.run(launcher.LIBC, request, fds))  # noqa: SLF001 - it extends it
        return {"pid": pid}

    def end_all(self) -> None:
        """Kills what is left; the engine removes the containers."""
        if self.succession:
            # Nobody is to wait for a greeting meanwhile.
            self.succession.close()
            self.succession = None
        # What is halted does not even die.
        launcher.thaw(self.halted)
        super().end_all()
        if self.labels:
            engine_socket.remove_labelled(self.engine, self.labels)


if __name__ == "__main__":
    launcher.main(ContainerLauncher)
