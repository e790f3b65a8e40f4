"""The server on the socket in the data directory, by which the other processes over it reach this one."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from lm_sandbox.cli.patient_http import HEAD_BYTES
from lm_sandbox.storage.servers import Servers
from lm_sandbox.surfaces.forwarding.hop import InnerDoor

# What another process has read of a head, and what it adds.
HOP_BYTES = 4096


class InnerServer(uvicorn.Server):
    """Serves the app to other processes; the signals are the outer server's.

    Args:
        app: Which is started already.
        servers: Has the socket.
    """

    def __init__(self, app: FastAPI, servers: Servers) -> None:
        super().__init__(
            uvicorn.Config(
                InnerDoor(app),
                http="h11",
                h11_max_incomplete_event_size=HEAD_BYTES + HOP_BYTES,
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._servers = servers
        self._serving: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves them alone."""
        yield

    async def start(self) -> None:
        """Begins; what has come to the socket before is answered now."""
        if self._servers.listener is not None:
            self._serving = asyncio.create_task(self.serve([self._servers.listener]))

    async def end(self) -> None:
        """Answers what it has begun to, and ends."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving
