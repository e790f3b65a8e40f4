"""Connections to the servers that listen inside sandboxes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socket

from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.sandbox import SandboxState
from lm_sandbox.sandboxes.service import SandboxService


class Ports:
    """Connects to servers inside sandboxes, each for its owner only.

    Args:
        service: Knows the sandboxes.
        driver: Makes the connections.
    """

    def __init__(self, service: SandboxService, driver: SandboxDriver) -> None:
        self._service = service
        self._driver = driver

    @asynccontextmanager
    async def connect(self, principal: Principal, sandbox_id: str, port: int) -> AsyncIterator[socket]:
        """Connects to what listens on a port of the sandbox's own 127.0.0.1.

        Raises:
            SandboxNotFound: the principal has none of this id.
            Gone: it was deleted.
            Conflict: it does not run.
            SandboxFailed: it died.
            Unreachable: nothing listens there.
        """
        sandbox = self._service.get(principal, sandbox_id)
        sandbox.require(SandboxState.RUNNING)
        with self._service.in_use(sandbox):
            with sandbox.noting_failure():
                connected = await self._driver.connect(sandbox.id, port)
            with connected:
                yield connected
