"""One sandbox: its init, its zygote, its cgroups and its commands."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import anyio

from lm_sandbox.errors import DriverUnavailable, SandboxFailed
from lm_sandbox.sandboxes.driver import CommandSpec, Limit, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import (
    ENVIRONMENT,
    SANDBOX_UID,
    WORKSPACE,
)
from lm_sandbox.sandboxes.drivers.bubblewrap.cgroups import Group
from lm_sandbox.sandboxes.drivers.bubblewrap.channel import Channel, Message
from lm_sandbox.sandboxes.drivers.bubblewrap.launch import Launcher
from lm_sandbox.sandboxes.drivers.bubblewrap.process import BubblewrapProcess, Pipes
from lm_sandbox.sandboxes.drivers.bubblewrap.tree import COOKIE, kill_tree

READY_S = 10.0
END_S = 10.0
# Less than this free at the end of a command means that it met the disk limit.
FULL_BYTES = 64 * 1024
FULL_FILES = 4


class BubblewrapSandbox:
    """A sandbox whose init is up.

    Args:
        sandbox: Its id.
        spec: What it was made from.
        uid: Its host user id, or None for the server's own.
        group: Its cgroups, where there are any.
        init: A pidfd of its init, and its number; owned from now on.
    """

    def __init__(
        self,
        sandbox: SandboxId,
        spec: SandboxSpec,
        *,
        uid: int | None,
        group: Group | None,
        init: tuple[int, int],
    ) -> None:
        self.id = sandbox
        self.uid = uid
        self._spec = spec
        self._group = group
        self._init, self._init_pid = init
        self._zygote: Channel | None = None
        self._ready: asyncio.Event = asyncio.Event()
        self._start_lock = anyio.Lock()
        self._running: dict[int, BubblewrapProcess] = {}
        self._numbers = count(1)
        self._storage = os.open(f"/proc/{self._init_pid}/root{WORKSPACE}", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def alive(self) -> bool:
        """Whether its init runs."""
        try:
            signal.pidfd_send_signal(self._init, 0)
        except ProcessLookupError:
            return False
        return True

    async def spawn(self, launcher: Launcher, command: CommandSpec) -> BubblewrapProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        for _ in range(2):
            zygote = await self._zygote_of(launcher)
            with suppress(BrokenPipeError):
                return await self._spawn(zygote, command)
        raise SandboxFailed("The sandbox takes no more commands; make a new one.")

    async def end(self, launcher: Launcher) -> None:
        """Kills everything in it and removes what it had."""
        if self._group is not None:
            self._group.unthrottle()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init, signal.SIGKILL)
        os.close(self._storage)
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        self._lose_all(alive=False)
        with anyio.move_on_after(END_S):
            await anyio.wait_readable(self._init)
        os.close(self._init)
        with suppress(DriverUnavailable):
            await launcher.ask("forget", {"sandbox": self.id})
        if self._group is not None:
            await self._group.remove_when_empty()

    async def _zygote_of(self, launcher: Launcher) -> Channel:
        async with self._start_lock:
            if self._zygote is None or self._zygote.closed:
                if not self.alive:
                    raise SandboxFailed("The sandbox has ended on its own; make a new one.")
                await self._start_zygote(launcher)
            if self._zygote is None:
                raise SandboxFailed("The sandbox has ended on its own; make a new one.")
            return self._zygote

    async def _start_zygote(self, launcher: Launcher) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._ready.clear()
        self._zygote = Channel(ours, self._on_message, self._on_end)
        with theirs:
            await launcher.ask("zygote", self._zygote_order(), [theirs.fileno(), self._init, launcher.bpf])
        try:
            with anyio.fail_after(READY_S):
                await self._ready.wait()
        except TimeoutError as error:
            self._zygote.close()
            raise SandboxFailed("The sandbox does not take commands; make a new one.") from error
        if self._zygote.closed:
            raise SandboxFailed("The sandbox could not be entered; make a new one.")

    def _zygote_order(self) -> Message:
        limits = self._spec.limits
        rlimits = {"RLIMIT_NOFILE": limits.open_files}
        if self._group is None:
            rlimits |= {"RLIMIT_DATA": limits.memory_bytes, "RLIMIT_NPROC": limits.pids}
        return {
            "sandbox": self.id,
            "uid": self.uid,
            "inner_uid": SANDBOX_UID,
            "cgroups": self._group.paths if self._group else [],
            "rlimits": rlimits,
            "env": {**ENVIRONMENT, **self._spec.env},
        }

    async def _spawn(self, zygote: Channel, command: CommandSpec) -> BubblewrapProcess:
        number = next(self._numbers)
        cookie = f"{self.id}-{number}"
        before = self._group.hits() if self._group else {}
        pipes = Pipes(stdin=command.stdin)
        process = BubblewrapProcess(
            number,
            pipes.ours,
            hits=partial(self._hits_since, before),
            send_signal=partial(self._signal, number),
            kill_tree=partial(self._kill_tree, cookie),
        )
        self._running[number] = process
        order = {
            "id": number,
            "argv": list(command.argv),
            "env": {**command.env, COOKIE: cookie},
            "cwd": command.cwd,
            "stdin": command.stdin,
        }
        try:
            await zygote.send(order, pipes.theirs)
        except BaseException:
            del self._running[number]
            await process.aclose()
            raise
        finally:
            pipes.close()
        return process

    def _on_message(self, message: Message) -> None:
        if "ready" in message:
            self._ready.set()
            return
        process = self._running.get(message["id"])
        if process is not None:
            process.tell(message)
            if "code" in message:
                del self._running[message["id"]]

    def _on_end(self) -> None:
        self._ready.set()
        self._lose_all(alive=self.alive)

    def _lose_all(self, *, alive: bool) -> None:
        running, self._running = self._running, {}
        for process in running.values():
            process.lost(sandbox_alive=alive)

    def _hits_since(self, before: dict[Limit, int]) -> frozenset[Limit]:
        hits: set[Limit] = set()
        if self._group is not None:
            now = self._group.hits()
            hits = {limit for limit, counted in now.items() if counted > before.get(limit, 0)}
        with suppress(OSError):
            stat = os.fstatvfs(self._storage)
            full = stat.f_bavail * stat.f_bsize < FULL_BYTES or stat.f_favail < FULL_FILES
            hits |= {Limit.DISK} if full else set()
        return frozenset(hits)

    async def _signal(self, number: int, signal_number: int) -> None:
        if self._zygote is not None:
            with suppress(BrokenPipeError):
                await self._zygote.send({"id": number, "signal": signal_number})

    def _kill_tree(self, cookie: str, root: int) -> None:
        kill_tree(self._members, self._freeze, root, cookie)

    def _members(self) -> Iterable[int]:
        return self._group.members() if self._group else _in_namespace(self._init_pid)

    def _freeze(self, frozen: bool) -> None:
        if self._group is not None:
            with suppress(OSError):
                self._group.freeze(frozen=frozen)


def _in_namespace(init_pid: int) -> list[int]:
    """Lists the processes of a pid namespace, where no cgroup does."""
    with suppress(OSError):
        wanted = Path(f"/proc/{init_pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != init_pid:
                with suppress(OSError):
                    if (entry / "ns/pid").readlink() == wanted:
                        found.append(int(entry.name))
        return found
    return []
