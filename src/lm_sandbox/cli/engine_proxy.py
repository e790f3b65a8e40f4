"""`lm-sandbox engine-proxy`: lets a server use a Docker engine for sandboxes and for nothing else."""

import logging
import signal
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console

from lm_sandbox.config.settings import Settings
from lm_sandbox.sandboxes.admission import default_limits
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import Grant
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.proxy import serving_engine
from lm_sandbox.sandboxes.gpus import lendable
from lm_sandbox.sandboxes.nvidia import read_gpus


async def serve_engine(settings: Settings, listen: Path, name: str) -> int:
    """Serves until it is told to stop.

    Raises:
        Invalid: it cannot listen there.
    """
    logging.basicConfig(
        level=settings.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    gpus = lendable(settings.sandbox.gpus, await anyio.to_thread.run_sync(read_gpus))
    grant = Grant(default_limits(settings.sandbox), tuple(gpu.id for gpu in gpus))
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with serving_engine(listen, settings.docker, grant, name):
            Console(highlight=False, soft_wrap=True).print(f"The engine is served to {name!r}.")
            async for _ in signals:
                break
    return 0
