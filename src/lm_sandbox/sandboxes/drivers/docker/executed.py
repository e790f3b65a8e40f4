"""A container whose commands are execs of the engine: rootless, elsewhere, or with a kernel of its own.

The price over the direct way: an exec takes tens of milliseconds, an exit code over 128 is taken for a
signal because the engine tells both alike, and only the memory limit is told when it is hit.
"""

import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from time import time, time_ns

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from lm_sandbox.errors import DriverUnavailable, SandboxFailed, Unsupported
from lm_sandbox.sandboxes.driver import RunState, SandboxId, Stats
from lm_sandbox.sandboxes.drivers.docker.confinement import Confinement, outer_uid, read_confinement
from lm_sandbox.sandboxes.drivers.docker.demultiplexer import Demultiplexer
from lm_sandbox.sandboxes.drivers.docker.doorway import Doorway
from lm_sandbox.sandboxes.drivers.docker.engine import VANISHED, Engine
from lm_sandbox.sandboxes.drivers.docker.exec_process import Control, ExecProcess
from lm_sandbox.sandboxes.drivers.docker.pumped import LOST, PumpControl, PumpedProcess
from lm_sandbox.sandboxes.drivers.docker.unentered import WHY, Unentered
from lm_sandbox.sandboxes.inside.cgroup_use import Used
from lm_sandbox.sandboxes.inside.entrance import Left
from lm_sandbox.sandboxes.inside.launch import Kept, Launcher
from lm_sandbox.sandboxes.inside.layout import SANDBOX_UID
from lm_sandbox.sandboxes.inside.process import Ends, Pipes
from lm_sandbox.sandboxes.inside.safekeeping import Safekeeping
from lm_sandbox.sandboxes.inside.tree import COOKIE
from lm_sandbox.sandboxes.limits import Limit, Limits
from lm_sandbox.sandboxes.process import CommandSpec, Exit
from lm_sandbox.sandboxes.user import refuse_root

# So that a missing folder or program is told in the same way by every runtime.
# The cookie stands before them, where another server finds it.
START = ("/bin/sh", "-c", 'cd -- "$1" || exit 126; shift; exec "$@"')
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
# Ends all that the sandbox's user has, but not the first process, which is another's.
KILL_ALL = "kill -KILL -1"
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
        launcher: Takes the output of those that go on when the server is killed.
    """

    def __init__(self, sandbox: SandboxId, container: str, engine: Engine, launcher: Launcher) -> None:
        self.id = sandbox
        self.container = container
        self._engine = engine
        self._launcher = launcher
        self._safe = Safekeeping(launcher, sandbox, root=False)
        # Another server must never give a number again; and it tells when the command was started.
        self._numbers = count(time_ns())
        self.alive = True
        self._paused = False
        self._pausing = anyio.Lock()
        self._doorway = Doorway()

    async def spawn(self, command: CommandSpec) -> ExecProcess | PumpedProcess:
        """Starts a program.

        Raises:
            SandboxFailed: the container has ended.
            Unsupported: it would need a channel, or a root, of its own.
        """
        refuse_root(command.user)
        if command.channel:
            raise Unsupported(f"There are no shells that stay here; {WHY}")
        number = next(self._numbers)
        cookie = self._cookie(number)
        argv = (*START, cookie, command.cwd, *command.argv)
        env = {**command.env, COOKIE: cookie}
        if command.name is not None:
            return await self._spawn_pumped(number, command.name, argv, env, stdin=command.stdin)
        started = time()
        program, connection, output = await self._start(argv, env, stdin=command.stdin)
        control = Control(
            ended=partial(self._ended, program, started),
            signal=partial(self._signal, cookie),
            kill=partial(self._kill, cookie),
        )
        return ExecProcess(connection, Demultiplexer(output), control, stdin=command.stdin)

    async def keep(self, name: str, file: int | None) -> None:
        """Does nothing: there are no shells or terminals to be remembered."""
        del name, file

    async def adopt(self, kept: Mapping[str, Kept]) -> Left:
        """Takes over its named programs from an earlier server; what runs without a name is ended."""
        left = Left()
        known = set()
        for one, ends in self._safe.processes(kept):
            known.add(self._cookie(one.number))
            left.processes[one.name] = self._pumped(one.number, one.name, ends)
        inspected = await self._engine.inspect(self.container)
        for program in inspected.programs or ():
            with suppress(SandboxFailed):
                cookie = (await self._engine.program(program)).cookie
                if cookie is not None and cookie.startswith(f"{self.id}-") and cookie not in known:
                    await self._kill(cookie)
        return left

    async def end_programs(self) -> None:
        """Ends all of its programs, where nobody knows them."""
        await self._run((SHELL, "-c", KILL_ALL))

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
        self.alive = False

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

    async def _spawn_pumped(
        self, number: int, name: str, argv: Sequence[str], env: Mapping[str, str], *, stdin: bool
    ) -> PumpedProcess:
        """Has the launcher attach to it, so that its output outlives this server."""
        pipes = Pipes(CommandSpec((), stdin=stdin, channel=True))
        process = self._pumped(number, name, pipes.ours)
        try:
            async with self._doorway.entered():
                with anyio.CancelScope(shield=True):
                    program = await self._engine.prepare(self.container, argv, env, stdin=stdin)
                    await self._safe.keep_process(name, number, pipes.ours)
                    out, error, *stdin_fd, end = pipes.theirs
                    order = {"engine": str(self._engine.path), "program": program}
                    await self._launcher.ask("pump", order, [out, error, end, *stdin_fd])
                    while not (process.over or (await self._engine.program(program)).has_begun):  # noqa: ASYNC110 - there is no event
                        await anyio.sleep(POLL_S)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await process.aclose()
            raise
        finally:
            pipes.close()
        return process

    def _pumped(self, number: int, name: str, ends: Ends) -> PumpedProcess:
        cookie = self._cookie(number)
        control = PumpControl(
            exit_of=partial(self._exit_of, started=number / 1e9),
            signal=partial(self._signal, cookie),
            kill=partial(self._kill, cookie),
            on_close=self._safe.forget_process(name),
            on_stdin_close=self._safe.forget_stdin(name),
        )
        return PumpedProcess(ends, control)

    def _cookie(self, number: int) -> str:
        return f"{self.id}-{number}"

    async def _ended(self, program: str, started: float) -> Exit:
        return await self._exit_of(await self._code(program), started=started)

    async def _exit_of(self, code: int, *, started: float) -> Exit:
        if code == LAST_CODE + signal.SIGKILL and not await self._runs():
            raise SandboxFailed(VANISHED)
        limits = frozenset[Limit]()
        if await self._engine.has_run_out_of_memory(self.container, started):
            limits = frozenset({Limit.MEMORY})
        if code > LAST_CODE:
            return Exit(None, code - LAST_CODE, limits)
        return Exit(code, None, limits)

    async def _code(self, program: str) -> int:
        try:
            while (state := await self._engine.program(program)).running or state.code is None:  # noqa: ASYNC110 - there is no event
                await anyio.sleep(POLL_S)
        except SandboxFailed as error:
            # An engine that was restarted under it knows the container still, but none of its programs.
            if await self._runs():
                raise DriverUnavailable(LOST) from error
            raise
        return state.code

    async def _runs(self) -> bool:
        return self.alive and await self._engine.is_running(self.container)

    async def _signal(self, cookie: str, number: int) -> None:
        await self._run((SHELL, "-c", SIGNAL, "lm-sandbox", f"{COOKIE}={cookie}", str(number)))

    async def _kill(self, cookie: str) -> None:
        with anyio.move_on_after(KILL_S) as patience:
            # While a bomb takes every process that there may be, none of ours gets in.
            while not await self._killed(cookie):  # noqa: ASYNC110 - there is no event
                await anyio.sleep(POLL_S)
        if patience.cancelled_caught:
            # What cannot be ended by itself is ended with the sandbox.
            self.alive = False
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
