"""`lm-sandbox engine-proxy`: lets a server use a Docker engine for sandboxes and for nothing else."""

import logging
import signal
import sys
from pathlib import Path

import anyio
from rich.console import Console

from lm_sandbox.config.settings import Settings
from lm_sandbox.sandboxes.admission import default_limits
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.proxy import serving_engine


async def serve_engine(settings: Settings, listen: Path, name: str) -> int:
    """Serves until it is told to stop.

    Raises:
        Invalid: it cannot listen there.
    """
    logging.basicConfig(
        level=settings.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    most = default_limits(settings.sandbox)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with serving_engine(listen, settings.docker, most, name):
            Console(highlight=False, soft_wrap=True).print(f"The engine is served to {name!r}.")
            async for _ in signals:
                break
    return 0
