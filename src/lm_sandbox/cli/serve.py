"""`lm-sandbox serve`: the API over HTTP."""

import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from rich.console import Console

from lm_sandbox.app import create_app
from lm_sandbox.cli.connection import RunningServer, server_file
from lm_sandbox.cli.patient_http import Connections, patient_http
from lm_sandbox.cli.profile import start_profile, unprofiled
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid
from lm_sandbox.parts import local_key
from lm_sandbox.telemetry.logs import Logs

BACKLOG = 2048
GRACE_S = 10


async def serve(settings: Settings, profile: Path | None = None) -> None:
    """Serves until it is told to stop.

    Args:
        settings: All of them.
        profile: Where to write what took the time.

    Raises:
        Invalid: the address cannot be listened on, or the profile not be written.
    """
    finish = start_profile(profile) if profile else unprofiled
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_cert else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    with Logs(settings.log, sys.stderr) as logs:
        config = _config(settings, logs)
        try:
            config.load()
        except OSError as error:
            listener.close()
            raise Invalid(f"The TLS files cannot be used: {error.strerror}.", field="tls_cert") from error
        await _Server(config, settings, url, finish).serve([listener])


def _config(settings: Settings, logs: Logs) -> uvicorn.Config:
    proxies = list(settings.trusted_proxies)
    return uvicorn.Config(
        create_app(settings, [logs]),
        http=patient_http(Connections(settings.limits.address_connections, exempt=proxies)),
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )


class _Server(uvicorn.Server):
    """Says where it is once it can be used, and takes that back when it ends."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, url: str, finish: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._finish = finish
        self._settings = settings
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            RunningServer(self._url, os.getpid()).write(server_file(self._settings))
            _announce(self._settings, self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        server_file(self._settings).unlink(missing_ok=True)
        await super().shutdown(sockets)
        # After this uvicorn lets the signal end the process.
        self._finish()


def _announce(settings: Settings, url: str) -> None:
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


def _listen(settings: Settings) -> socket.socket:
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
