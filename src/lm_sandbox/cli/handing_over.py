"""The end of a server whose sandboxes go on: another process takes them over, as after a crash.

There is one way to go on after an end, and it is the one that is tested by killing: all that is left to do
before is to have on the disk what is in memory only.
"""

import logging
import os
import sys

from fastapi import FastAPI

from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import AuditUnavailable
from lm_sandbox.storage.servers import Servers
from lm_sandbox.surfaces.deps import Services

LOG = logging.getLogger(__name__)


def hands_over(settings: Settings, servers: Servers) -> bool:
    """Whether what a server has outlives its end: where others are there to take it, or are to come."""
    if settings.sandbox.driver != "bubblewrap" or not settings.sandbox.recovery_s:
        return False
    return settings.stop.keep_sandboxes or not servers.is_alone()


async def leave(app: FastAPI) -> None:
    """Ends this process at once, without ending what it holds; requests must have been answered."""
    services: Services = app.state.services
    try:
        await services.audit.flush()
    except AuditUnavailable as error:
        LOG.error("%s", error.message)  # noqa: TRY400 - it says all there is
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
