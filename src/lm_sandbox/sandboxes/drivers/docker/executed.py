"""A container whose commands are execs of the engine: rootless, elsewhere, or with a kernel of its own.

The price over the direct way: an exec takes tens of milliseconds, an exit code over 128 is taken for a
signal because the engine tells both alike, and only the memory limit is told when it is hit.
"""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from time import time

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.errors import SandboxFailed, Unsupported
from lm_sandbox.sandboxes.driver import RunState, SandboxId, Stats
from lm_sandbox.sandboxes.drivers.docker.confinement import Confinement, outer_uid, read_confinement
from lm_sandbox.sandboxes.drivers.docker.demultiplexer import Demultiplexer
from lm_sandbox.sandboxes.drivers.docker.doorway import Doorway
from lm_sandbox.sandboxes.drivers.docker.engine import VANISHED, Engine
from lm_sandbox.sandboxes.drivers.docker.exec_process import Control, ExecProcess
from lm_sandbox.sandboxes.drivers.docker.unentered import WHY, Unentered
from lm_sandbox.sandboxes.inside.cgroup_use import Used
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID
from lm_sandbox.sandboxes.inside.tree import COOKIE
from lm_sandbox.sandboxes.limits import Limit, Limits
from lm_sandbox.sandboxes.process import CommandSpec, Exit
from lm_sandbox.sandboxes.user import refuse_root

# So that a missing folder or program is told in the same way by every runtime.
START = ("/bin/sh", "-c", 'cd -- "$1" || exit 126; shift; exec "$@"', "lm-sandbox")
# Builtins only: where the process limit is reached, nothing more can be started.
FIND = """
belongs() {
    while IFS= read -r -d '' entry; do [ "$entry" = "$cookie" ] && return; done < "$1/environ"
    return 1
}
"""
SIGNAL = f"""{FIND}
cookie=$1
for proc in /proc/[0-9]*; do
    read -r stat < "$proc/stat"
    set -- "$2" "$2" ${{stat##*) }}
    [ "$4" = 0 ] && [ "$6" = "${{proc#/proc/}}" ] && belongs "$proc" && kill "-$1" -- "-${{proc#/proc/}}"
done 2>/dev/null
"""
KILL = f"""{FIND}
cookie=$1
sessions=' '
for round in {{1..200}}; do
    found=
    for proc in /proc/[0-9]*; do
        read -r stat < "$proc/stat" || continue
        set -- ${{stat##*) }}
        [ "$1" = Z ] && continue
        if belongs "$proc"; then sessions="$sessions$4 "; elif [[ $sessions != *" $4 "* ]]; then continue; fi
        kill -KILL "${{proc#/proc/}}" && found=1
    done
    [ "$found" ] || exit 0
done 2>/dev/null
exit 1
"""
SHELL = "/bin/bash"
LAST_CODE = 128
POLL_S = 0.02
KILL_S = 15.0


class ExecSandbox(Unentered):
    """A running container whose commands the engine starts.

    Args:
        sandbox: Its id.
        container: The engine's id of it.
        engine: Starts them.
    """

    def __init__(self, sandbox: SandboxId, container: str, engine: Engine) -> None:
        self.id = sandbox
        self.container = container
        self._engine = engine
        self._numbers = count(1)
        self._alive = True
        self._paused = False
        self._pausing = anyio.Lock()
        self._doorway = Doorway()

    async def spawn(self, command: CommandSpec) -> ExecProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the container has ended.
            Unsupported: it would need a channel, or a root, of its own.
        """
        refuse_root(command.user)
        if command.channel:
            raise Unsupported(f"There are no shells that stay here; {WHY}")
        cookie = f"{self.id}-{next(self._numbers)}"
        argv = (*START, command.cwd, *command.argv)
        env = {**command.env, COOKIE: cookie}
        started = time()
        program, connection, output = await self._start(argv, env, stdin=command.stdin)
        control = Control(
            ended=partial(self._ended, program, started),
            signal=partial(self._signal, cookie),
            kill=partial(self._kill, cookie),
        )
        return ExecProcess(connection, Demultiplexer(output), control, stdin=command.stdin)

    async def set_state(self, state: RunState) -> None:
        """Lets it run or halts it; its processes cannot be ended alone.

        Raises:
            Unsupported: they would have to be.
        """
        if state is RunState.STOPPED:
            raise Unsupported(f"A sandbox cannot be stopped here; {WHY}")
        async with self._pausing, self._doorway.closed():
            if self._paused != (paused := state is RunState.PAUSED):
                await self._engine.pause(self.container, paused=paused)
            self._paused = paused

    @asynccontextmanager
    async def making_room(self, limits: Limits) -> AsyncIterator[None]:
        """Halts it while limits are changed, so that what is in use does not grow meanwhile.

        Raises:
            LimitInUse: it uses more than that.
        """
        async with self._pausing, self._doorway.closed():
            if not self._paused:
                await self._engine.pause(self.container, paused=True)
            try:
                used = await self._engine.used(self.container)
                Used(max(0, (used.memory_bytes or 0) - used.cached_bytes), used.pids or 0).require_room(
                    limits
                )
                yield
            finally:
                if not self._paused:
                    with anyio.CancelScope(shield=True):
                        await self._engine.pause(self.container, paused=False)

    async def stats(self) -> Stats:
        """Tells what the engine counts; files it does not."""
        used = await self._engine.used(self.container)
        if used.pids is None:
            return Stats()  # A runtime that makes no group has the engine count the whole host.
        return Stats(
            cpu_seconds=used.cpu_ns / 1e9,
            throttled_seconds=used.throttled_ns / 1e9,
            memory_bytes=used.memory_bytes,
            memory_peak_bytes=used.memory_peak_bytes,
            pids=used.pids,
        )

    async def end(self) -> None:
        """Tells commands that they end with the sandbox; the engine does the rest."""
        self._alive = False

    async def confinement(self) -> Confinement:
        """Reads what confines a command, with its user as the host sees it."""
        status = await self._read("/proc/self/status")
        confinement = read_confinement(status)
        uid = outer_uid(await self._read("/proc/self/uid_map"), SANDBOX_UID)
        return Confinement(uid, confinement.capabilities, confinement.no_new_privs, confinement.seccomp)

    async def _read(self, path: str) -> str:
        process = await self.spawn(CommandSpec(("cat", path), cwd="/"))
        try:
            data = b""
            async for piece in process.stdout:
                data += piece
            return data.decode()
        finally:
            await process.aclose()

    async def _ended(self, program: str, started: float) -> Exit:
        code = await self._code(program)
        if code == LAST_CODE + signal.SIGKILL and not await self._runs():
            raise SandboxFailed(VANISHED)
        limits = frozenset[Limit]()
        if await self._engine.has_run_out_of_memory(self.container, started):
            limits = frozenset({Limit.MEMORY})
        if code > LAST_CODE:
            return Exit(None, code - LAST_CODE, limits)
        return Exit(code, None, limits)

    async def _code(self, program: str) -> int:
        while (state := await self._engine.program(program)).running or state.code is None:  # noqa: ASYNC110 - there is no event
            await anyio.sleep(POLL_S)
        return state.code

    async def _runs(self) -> bool:
        return self._alive and await self._engine.is_running(self.container)

    async def _signal(self, cookie: str, number: int) -> None:
        await self._run((SHELL, "-c", SIGNAL, "lm-sandbox", f"{COOKIE}={cookie}", str(number)))

    async def _kill(self, cookie: str) -> None:
        with anyio.move_on_after(KILL_S) as patience:
            # While a bomb takes every process that there may be, none of ours gets in.
            while not await self._killed(cookie):  # noqa: ASYNC110 - there is no event
                await anyio.sleep(POLL_S)
        if patience.cancelled_caught:
            # What cannot be ended by itself is ended with the sandbox.
            self._alive = False
            await self._engine.remove(self.container)

    async def _killed(self, cookie: str) -> bool:
        try:
            return await self._run((SHELL, "-c", KILL, "lm-sandbox", f"{COOKIE}={cookie}")) == 0
        except SandboxFailed:
            return not await self._runs()

    async def _run(self, argv: tuple[str, ...]) -> int:
        async with self._awake():
            program, connection, output = await self._start(argv, {}, stdin=False)
            async with connection:
                await Demultiplexer(output).to_the_end()
            return await self._code(program)

    async def _start(
        self, argv: tuple[str, ...], env: Mapping[str, str], *, stdin: bool
    ) -> tuple[str, SocketStream, BufferedByteReceiveStream]:
        """Returns when the program has started, or never will: the engine attaches to it before."""
        async with self._doorway.entered():
            with anyio.CancelScope(shield=True):
                program = await self._engine.prepare(self.container, argv, env, stdin=stdin)
                connection, output = await self._engine.attach(program)
                async with AsyncExitStack() as exits:
                    exits.push_async_callback(connection.aclose)
                    while not (await self._engine.program(program)).has_begun:  # noqa: ASYNC110 - there is no event
                        await anyio.sleep(POLL_S)
                    exits.pop_all()
        return program, connection, output

    @asynccontextmanager
    async def _awake(self) -> AsyncIterator[None]:
        """Lets a paused sandbox go on for a moment, as nothing can be started in it; one at a time."""
        async with self._pausing:
            if not self._paused:
                yield
                return
            await self._engine.pause(self.container, paused=False)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    async with self._doorway.closed():
                        await self._engine.pause(self.container, paused=True)
