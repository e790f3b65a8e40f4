"""`lm-sandbox serve`: the API over HTTP."""

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from uvicorn.lifespan.off import LifespanOff
from uvicorn.lifespan.on import LifespanOn

from lm_sandbox.app import create_app
from lm_sandbox.cli.handing_over import hands_over, leave
from lm_sandbox.cli.inner_server import InnerServer
from lm_sandbox.cli.patient_http import Connections, patient_http
from lm_sandbox.cli.profile import start_profile, unprofiled
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid
from lm_sandbox.identity.local_key import local_key
from lm_sandbox.storage.servers import SERVERS, Servers
from lm_sandbox.telemetry.logs import Logs

BACKLOG = 2048
# By these a process knows what it was given by the one that has started it with others.
LISTENER, LEASH = "LM_SANDBOX_LISTENER", "LM_SANDBOX_LEASH"


async def serve(settings: Settings, profile: Path | None = None) -> None:
    """Serves until it is told to stop.

    Args:
        settings: All of them.
        profile: Where to write what took the time.

    Raises:
        Invalid: the address cannot be listened on, or the profile not be written.
    """
    finish = start_profile(profile) if profile else unprofiled
    worker = LISTENER in os.environ
    listener = socket.socket(fileno=int(os.environ[LISTENER])) if worker else listen(settings)
    url = url_of(settings, listener)
    servers = Servers(settings.data_dir / SERVERS, joins=True)
    with Logs(settings.log, sys.stderr) as logs:
        app = create_app(settings, [logs], servers)
        config = _config(settings, app)
        try:
            config.load()
        except OSError as error:
            listener.close()
            raise Invalid(f"The TLS files cannot be used: {error.strerror}.", field="tls_cert") from error
        await _Server(config, app, settings, servers, url, finish).serve([listener])


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Tells where a listener is reached."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    proxies = list(settings.trusted_proxies)
    return uvicorn.Config(
        app,
        http=patient_http(Connections(settings.limits.address_connections, exempt=proxies)),
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.stop.grace_s,
        backlog=BACKLOG,
    )


class _Server(uvicorn.Server):
    """Says where it is once it can be used, and takes that back when it ends."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it serves, and as whom
        self,
        config: uvicorn.Config,
        app: FastAPI,
        settings: Settings,
        servers: Servers,
        url: str,
        finish: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._finish = finish
        self._app = app
        self._settings = settings
        self._servers = servers
        self._url = url
        self._inner = InnerServer(app, servers)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            await self._inner.start()
            self._servers.announce(self._url)
            if LISTENER in os.environ:
                _follow(int(os.environ[LEASH]))
            else:
                announce(self._settings, self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more, answers what it can in time, and then ends or hands over what it has."""
        self._servers.withdraw()
        self.lifespan = _Ending(self.lifespan, self._settle)
        await super().shutdown(sockets)
        # After this uvicorn lets the signal end the process.
        self._finish()

    async def _settle(self) -> None:
        await self._inner.end()
        interrupted = signal.SIGINT in self._captured_signals
        if not interrupted and hands_over(self._settings, self._servers):
            self._finish()
            await leave(self._app)


class _Ending:
    """The end of the app, when all requests are answered, with something before it."""

    def __init__(self, lifespan: LifespanOn | LifespanOff, before: Callable[[], Awaitable[None]]) -> None:
        self._lifespan = lifespan
        self._before = before
        self.state = lifespan.state

    async def shutdown(self) -> None:
        await self._before()
        await self._lifespan.shutdown()


def _follow(leash: int) -> None:
    """Ends this process in order when the one that has started it is gone."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(leash)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(leash, end)


def announce(settings: Settings, url: str) -> None:
    """Says where the server is, and the first time its key."""
    console = Console(highlight=False, soft_wrap=True)
    key = local_key(settings)
    console.print(f"lm-sandbox serves on [bold]{url}[/] (Swagger: {url}/docs)")
    if settings.api_key is not None:
        source = "LM_SANDBOX_API_KEY" if settings.api_key_file is None else "the file of api_key_file"
        console.print(f"API key: the one in {source}")
    elif key.first_showing():
        console.print(f"API key: [bold]{key.read()}[/]")
        console.print(f"         shown once; it is kept in {key.path}, 'lm-sandbox keys show' prints it")
    else:
        console.print(f"API key: in {key.path}; 'lm-sandbox keys show' prints it")
    console.print("Stop with Ctrl+C.")


def listen(settings: Settings) -> socket.socket:
    """Takes the address of the settings.

    Raises:
        Invalid: it cannot be had.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(settings.host).version == 6 else socket.AF_INET  # noqa: PLR2004
    except ValueError:
        family = socket.AF_INET
    # asyncio sends small answers at once only where the protocol is told.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Invalid(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Choose another with --port.",
            field="port",
        ) from error
    return listener
