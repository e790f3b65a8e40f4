"""How the command line reaches the API: a server that runs here, else the same app in process."""

import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

import anyio
import httpx

from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Unauthenticated, Unavailable
from lm_sandbox.identity.local_key import local_key
from lm_sandbox.storage.servers import SERVERS, serving_urls

# A server that is written down and not there refuses at once; one that is busy may need its time.
PROBE_S = 5.0
# A run may think for minutes before it says anything.
SILENT_S = 600.0
IN_PROCESS = "http://in-process"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server on this machine, as it has written itself down in the data directory."""

    url: str
    pid: int

    @classmethod
    def find(cls, settings: Settings) -> Self | None:
        """Returns the server, the newest of several, or None where none runs."""
        for url, pid in serving_urls(settings.data_dir / SERVERS):
            with suppress(OSError):
                os.kill(pid, 0)
                return cls(url, pid)
        return None


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yields a client of the API, authenticated as this machine's own user.

    Raises:
        DriverUnavailable: there is no server, and this host cannot isolate.
    """
    server = RunningServer.find(settings)
    if server is not None and await _answers(server, settings):
        async with _client_of(server, settings) as client:
            yield client
        return
    # Here only: a program that asks a server wants no server of its own.
    from lm_sandbox.app import create_app, start_services  # noqa: PLC0415
    from lm_sandbox.surfaces.asgi import StreamingASGITransport  # noqa: PLC0415

    settings = settings.for_one_use()
    app = create_app(settings)
    async with start_services(settings) as services, anyio.create_task_group() as tasks:
        app.state.services = services
        async with httpx.AsyncClient(
            transport=StreamingASGITransport(app, tasks),
            base_url=IN_PROCESS,
            headers=_headers(settings),
            timeout=SILENT_S,
        ) as client:
            yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connect_to_server(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yields a client of the server that runs here, for what would end with this program otherwise.

    Raises:
        Unavailable: none runs.
    """
    server = RunningServer.find(settings)
    if server is None or not await _answers(server, settings):
        raise Unavailable("No server runs here; start one with 'lm-sandbox serve'.")
    async with _client_of(server, settings) as client:
        yield client


def connect_to(url: str, settings: Settings) -> httpx.AsyncClient:
    """Returns a client of the server at a URL, with the key of the settings or this machine's own.

    Raises:
        Unauthenticated: there is no key.
    """
    return httpx.AsyncClient(base_url=url, headers=_headers(settings), timeout=SILENT_S, trust_env=False)


async def check(answer: httpx.Response) -> httpx.Response:
    """Returns a good answer.

    Raises:
        Unavailable: the answer is an error; the message is the server's own.
    """
    if answer.is_success:
        return answer
    try:
        body = json.loads(await answer.aread())
    except ValueError:
        body = {}
    error = body.get("error")
    message = body.get("detail") or (error.get("message") if isinstance(error, dict) else error)
    raise Unavailable(str(message or f"The server answered {answer.status_code}."))


def _client_of(server: RunningServer, settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=server.url,
        headers=_headers(settings),
        timeout=SILENT_S,
        trust_env=False,
        verify=_trusted(settings),
    )


async def _answers(server: RunningServer, settings: Settings) -> bool:
    try:
        async with httpx.AsyncClient(timeout=PROBE_S, trust_env=False, verify=_trusted(settings)) as client:
            return (await client.get(f"{server.url}/healthz")).is_success
    except httpx.HTTPError:
        return False


def _trusted(settings: Settings) -> ssl.SSLContext | bool:
    """The server here is known by its very certificate, whatever names that has."""
    if settings.tls_cert is None:
        return True
    context = ssl.create_default_context(cafile=settings.tls_cert)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _headers(settings: Settings) -> dict[str, str]:
    key = settings.api_key.get_secret_value() if settings.api_key else local_key(settings).read()
    if key is None:
        raise Unauthenticated("No API key is known here; start the server once to make one.")
    return {"Authorization": f"Bearer {key}"}
