"""`lm-sandbox sandbox terminal`: this terminal becomes one of a sandbox."""

import json
import os
import signal
import stat
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpx
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from lm_sandbox.cli.connection import check, connect_to_server
from lm_sandbox.cli.sandbox import id_of
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Unavailable

# Ctrl and ]: telnet's own.
DETACH = b"\x1d"
END_OF_INPUT = b"\x04"
READ_BYTES = 64 * 1024
# Back to the first screen, with the cursor there and neither mouse nor paste reported.
RESET = b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m"
CLEAR = RESET + b"\x1b[H\x1b[2J"
SIGNALLED = 128


async def use_terminal(
    settings: Settings, name: str, terminal: str | None, command: Sequence[str], *, view: bool
) -> int:
    """Opens a terminal, or comes back to one, and returns the exit status of its program, or 0 when left.

    Raises:
        Unavailable: there is no such sandbox or terminal, or the connection broke.
    """
    async with connect_to_server(settings) as client:
        path = f"/v1/sandboxes/{await id_of(client, name)}/terminals"
        if terminal is None:
            body = {**_size(), **({"command": list(command)} if command else {})}
            terminal = str((await check(await client.post(path, json=body))).json()["id"])
        session = await _connect(client, f"{path}/{terminal}/ws{'?view=true' if view else ''}")
        async with session:
            with _raw():
                status = await _Attached(session, view=view).run()
    if status is None:
        sys.stderr.write(
            f"\nlm-sandbox: left; 'lm-sandbox sandbox terminal {name} --id {terminal}' comes back\n"
        )
        return 0
    return status


async def _connect(client: httpx.AsyncClient, path: str) -> ClientConnection:
    url = f"ws{str(client.base_url).removeprefix('http').rstrip('/')}{path}"
    headers = {"Authorization": client.headers["Authorization"]}
    try:
        return await connect(url, additional_headers=headers, proxy=None, compression=None)
    except InvalidStatus as error:
        detail = json.loads(error.response.body or b"{}").get("detail")
        raise Unavailable(detail or f"The server answered {error.response.status_code}.") from error
    except (OSError, WebSocketException) as error:
        raise Unavailable("The terminal could not be reached.") from error


class _Attached:
    """This terminal's two ends, while they are connected to a sandbox's."""

    def __init__(self, session: ClientConnection, *, view: bool) -> None:
        self._session = session
        self._view = view
        self._tasks: TaskGroup | None = None
        self._status: int | None = None
        self._shown = 0
        self._left = False

    async def run(self) -> int | None:
        """Returns the program's exit status, or None where the user has left it.

        Raises:
            Unavailable: the connection ended before the program.
        """
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._type)
            if not self._view:
                self._tasks.start_soon(self._follow_size)
            with suppress(ConnectionClosed):
                await self._show()
            self._tasks.cancel_scope.cancel()
        if self._status is None and not self._left:
            raise Unavailable("The terminal is not there any more.")
        return self._status

    async def _show(self) -> None:
        async for message in self._session:
            if isinstance(message, bytes):
                _write(message)
            else:
                self._take(json.loads(message))

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "replay":
            # What is on the screen at first is the user's own.
            _write(CLEAR if self._shown else b"")
            self._shown += 1
        elif message["type"] == "exit":
            self._status = _status_of(message)
        elif message["type"] == "error":
            _write(f"\r\nlm-sandbox: {message['detail']}\r\n".encode())

    async def _type(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                typed = await _read()
                before, left, _ = typed.partition(DETACH)
                if not self._view and (before or not typed):
                    await self._session.send(before or END_OF_INPUT)
                if left and self._tasks is not None:
                    self._left = True
                    self._tasks.cancel_scope.cancel()
                if not typed:
                    return

    async def _follow_size(self) -> None:
        with anyio.open_signal_receiver(signal.SIGWINCH) as changes, suppress(ConnectionClosed):
            while True:
                if size := _size():
                    await self._session.send(json.dumps({"type": "resize", **size}))
                await anext(changes)


def _status_of(message: Mapping[str, Any]) -> int:
    """Returns what shells report."""
    if message["signal"] is None:
        return int(message["exit_code"])
    number = signal.Signals.__members__.get(message["signal"])
    return SIGNALLED + (number or 0)


async def _read() -> bytes:
    source = sys.stdin.fileno()
    # A file never keeps anybody waiting, and the kernel refuses to say so.
    if not stat.S_ISREG(os.fstat(source).st_mode):
        await anyio.wait_readable(source)
    return os.read(source, READ_BYTES)


def _size() -> dict[str, int]:
    try:
        rows, columns = termios.tcgetwinsize(sys.stdout.fileno())
    except (OSError, termios.error):
        return {}  # It goes to a file or a pipe.
    return {"rows": rows, "columns": columns} if rows and columns else {}


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


@contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the sandbox, also those that this terminal would act on."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        tty.setraw(sys.stdin.fileno())
        yield
    finally:
        if sys.stdout.isatty():
            _write(RESET)
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, before)
