"""Listens on a socket of its own for one server, and lets through what `rules` permits."""

import logging
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
from anyio.abc import SocketStream

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.drivers.docker.engine import ANSWER_S, BASE_URL, Engine
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.exchange import Exchange, Way
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.holdings import Holdings
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import Grant
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.rules import Rules

LOG = logging.getLogger(__name__)
# Its owner and group: nobody else on the machine.
MODE = 0o660
CONNECTIONS = 1024


@asynccontextmanager
async def serving_engine(
    listen: Path, settings: DockerSettings, grant: Grant, owner: str
) -> AsyncIterator[None]:
    """Serves for as long as the context lasts.

    Args:
        listen: Where the server will find it.
        settings: Which engine, and what makes every sandbox.
        grant: What one sandbox may have.
        owner: The server's name: what it makes carries it, and nothing else is there for it.

    Raises:
        Invalid: it cannot listen there.
    """
    _make_room(listen)
    async with AsyncExitStack() as exits:
        transport = httpx.AsyncHTTPTransport(uds=str(settings.socket))
        http = await exits.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url=BASE_URL, timeout=ANSWER_S)
        )
        engine = await exits.enter_async_context(Engine(settings.socket))
        way = Way(Rules(settings, grant, owner).permit, Holdings(http, owner), http, engine)
        slots = anyio.CapacityLimiter(CONNECTIONS)

        async def serve(stream: SocketStream) -> None:
            async with slots, stream:
                try:
                    await Exchange(stream, way).serve()
                except Exception:  # One connection ends, and never the others.
                    LOG.exception("A connection failed.")

        try:
            listener = await anyio.create_unix_listener(listen, mode=MODE)
        except OSError as error:
            raise Invalid(f"Cannot listen there: {error.strerror}.", field="listen") from error
        exits.callback(_forget, listen)
        await exits.enter_async_context(listener)
        tasks = await exits.enter_async_context(anyio.create_task_group())
        exits.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(listener.serve, serve)
        yield


def _make_room(path: Path) -> None:
    """Removes what an earlier one has left, if it is a socket."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Invalid("There is something else than a socket.", field="listen")
        path.unlink()


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
