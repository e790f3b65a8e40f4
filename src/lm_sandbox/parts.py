"""The parts of the server that the settings choose: driver, images, engines, counters, traces."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lm_sandbox.config.access import LimitSettings
from lm_sandbox.config.insight import TraceSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.counters import shared_counters
from lm_sandbox.identity.rates import Rates
from lm_sandbox.models.engine import Engine
from lm_sandbox.models.engines.llamacpp import LlamaCppEngine
from lm_sandbox.models.engines.ollama import OllamaEngine
from lm_sandbox.models.engines.openai import OpenAIEngine, Upstream
from lm_sandbox.models.engines.upstreams import upstream_of
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.sandboxes.admission import default_limits
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import obstacle_to_images
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.system import HOST
from lm_sandbox.sandboxes.drivers.bubblewrap.systems import ImagePlaces
from lm_sandbox.sandboxes.drivers.bubblewrap.warm_pool import Warm
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.image_store import ImageStore
from lm_sandbox.sandboxes.images import ImageKind, Images, Offer
from lm_sandbox.sandboxes.inside.launch import Recovery
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.telemetry.happenings import Tell, unheard

ENGINE_IMAGES = "The docker driver takes the images of its engine; use 'docker pull' or 'docker load'"


LM_STUDIO_START = "Start LM Studio and switch its server on (Developer, or 'lms server start')."


def build_driver(settings: Settings) -> SandboxDriver:
    """Builds the driver that makes sandboxes."""
    sandbox = settings.sandbox
    if sandbox.driver == "docker":
        folder = settings.data_dir / "docker"
        return DockerDriver(settings.docker, folder, sandbox.image, sandbox.recovery_s)
    warm = Warm(sandbox.warm, default_limits(sandbox)) if sandbox.warm else None
    wait_s = sandbox.recovery_s
    recovery = Recovery(settings.data_dir / "launchers", wait_s) if wait_s else None
    folder = settings.data_dir / "image-additions"
    return BubblewrapDriver(
        require_cgroups=sandbox.require_cgroups,
        warm=warm,
        recovery=recovery,
        images=ImagePlaces(sandbox.images, image_store(settings), folder),
        default_image=sandbox.image,
    )


def image_store(settings: Settings) -> ImageStore:
    """Builds what keeps the images that were imported."""
    taken = frozenset({HOST, *settings.sandbox.images})
    return ImageStore(settings.data_dir / "images", settings.sandbox.images_mib * MIB, taken)


def build_images(settings: Settings, service: SandboxService) -> Images:
    """Builds what lists, imports and removes images."""
    given = {HOST: ImageKind.HOST, **dict.fromkeys(settings.sandbox.images, ImageKind.FOLDER)}
    obstacle = ENGINE_IMAGES if settings.sandbox.driver == "docker" else obstacle_to_images()
    return Images(image_store(settings), Offer(given, obstacle), service)


def build_registry(
    settings: Settings, leases: GpuLeases | None = None, tell: Tell = unheard
) -> ModelRegistry:
    """Builds the engines, those that a user has set up before the bundled demo.

    Args:
        settings: All of them.
        leases: GPUs that are lent to sandboxes.
        tell: Hears of every use of a model.
    """
    upstream = settings.upstream
    lm_studio = Upstream(
        name="lmstudio",
        base_url=upstream.lmstudio_url,
        how_to_start=LM_STUDIO_START,
        probe_timeout_s=upstream.probe_timeout_s,
        at_once=upstream.parallel,
    )
    found: list[Engine] = [
        *(OpenAIEngine(upstream_of(name, engine)) for name, engine in settings.engines.items()),
        OllamaEngine(
            upstream.ollama_url, upstream.probe_timeout_s, upstream.ollama_api_key, upstream.parallel
        ),
        OpenAIEngine(lm_studio),
        LlamaCppEngine(settings.llamacpp, models_dir(settings), leases=leases),
    ]
    return ModelRegistry(found, settings.default_model, tell=tell)


def models_dir(settings: Settings) -> Path:
    """Returns the folder in which GGUF files are looked for."""
    return settings.llamacpp.models_dir or settings.data_dir / "models"


@asynccontextmanager
async def open_rates(settings: LimitSettings) -> AsyncIterator[Rates]:
    """Opens what counts requests, for this server or for several together."""
    if settings.store is None:
        yield Rates()
        return
    async with shared_counters(settings.store.get_secret_value()) as counters:
        yield Rates(counters)


@asynccontextmanager
async def open_traces(settings: TraceSettings) -> AsyncIterator[Sequence[Tell]]:
    """Opens what sends traces; nothing where none are wanted.

    Raises:
        Invalid: they are, and the extra `otel` is not installed.
    """
    if settings.endpoint is None:
        yield ()
        return
    from lm_sandbox.telemetry.traces import Traces  # noqa: PLC0415 - an extra that may not be there

    async with Traces(settings) as traces:
        yield (traces,)
