"""`lm-sandbox serve --workers N`: several server processes on one address, kept alive by a small one."""

import os
import signal
import subprocess
import sys
from time import monotonic

import anyio
import anyio.to_thread

from lm_sandbox.cli.scope import MARK
from lm_sandbox.cli.serve import LEASH, LISTENER, announce, listen, url_of
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Unavailable
from lm_sandbox.storage.servers import SERVERS, serving_urls

START_S = 120.0
LOOK_S = 0.05
# One that ends as soon as it has started is not started again at once.
REST_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Workers:
    """The processes; the first one makes what is missing before the others come.

    Args:
        settings: All of them.
        count: How many.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self._count = count
        self._listener = listen(settings)
        # Its other end is in this process alone: whose is at its end knows that this one is gone.
        self._leash, self._held = os.pipe()
        self._running: list[subprocess.Popen[bytes]] = []

    async def supervise(self) -> None:
        """Keeps the processes up until a signal ends them; SIGHUP starts each anew, one after the other.

        Raises:
            Unavailable: one does not come up; it has said why.
        """
        try:
            for _ in range(self._count):
                self._running.append(await self._start())
            announce(self._settings, url_of(self._settings, self._listener))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_up)
                await self._obey()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._end_all()
            self._listener.close()

    async def _obey(self) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    return
                await self._renew()

    async def _renew(self) -> None:
        """Starts each anew; the old ones hand over what they hold."""
        for old in list(self._running):
            self._running.append(await self._start())
            self._running.remove(old)
            old.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(old.wait)

    async def _keep_up(self) -> None:
        while True:
            await anyio.sleep(LOOK_S)
            for worker in [one for one in self._running if one.poll() is not None]:
                self._running.remove(worker)
                began = monotonic()
                try:
                    self._running.append(await self._start())
                except Unavailable:
                    # It has said why; the others go on.
                    await anyio.sleep(max(0.0, REST_S - (monotonic() - began)))
                    self._running.append(worker)

    async def _start(self) -> subprocess.Popen[bytes]:
        worker = _spawn(self._listener.fileno(), self._leash)
        with anyio.move_on_after(START_S):
            while worker.poll() is None:
                if worker.pid in {pid for _, pid in serving_urls(self._settings.data_dir / SERVERS)}:
                    return worker
                await anyio.sleep(LOOK_S)
        worker.kill()
        await anyio.to_thread.run_sync(worker.wait)
        raise Unavailable("A server process did not come up.")

    async def _end_all(self) -> None:
        number = signal.SIGTERM if self._settings.stop.keep_sandboxes else signal.SIGINT
        for worker in self._running:
            worker.send_signal(number)
        for worker in self._running:
            await anyio.to_thread.run_sync(worker.wait)
        os.close(self._leash)
        os.close(self._held)


def _spawn(listener: int, leash: int) -> subprocess.Popen[bytes]:
    env = {name: value for name, value in os.environ.items() if name != MARK}
    env |= {LISTENER: str(listener), LEASH: str(leash)}
    return subprocess.Popen([sys.executable, sys.argv[0], "serve"], env=env, pass_fds=(listener, leash))


async def serve_by_workers(settings: Settings, count: int) -> None:
    """Serves by several processes until it is told to stop; raises as `Workers.supervise` does."""
    await Workers(settings, count).supervise()
