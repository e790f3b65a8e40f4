"""The composition root: builds every object once, and enters and leaves them in order."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from lm_sandbox import __version__
from lm_sandbox.agent.background import BackgroundRuns
from lm_sandbox.agent.conversations import Conversations
from lm_sandbox.agent.loop import AgentLoop
from lm_sandbox.agent.run_store import RunStore
from lm_sandbox.agent.uploads import Uploads
from lm_sandbox.audit.opening import build_audit
from lm_sandbox.audit.recording import Recorder
from lm_sandbox.config import LimitSettings, Settings
from lm_sandbox.identity.counters import shared_counters
from lm_sandbox.identity.gate import Gate, InnerGate
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.local_key import LocalKey
from lm_sandbox.identity.port_links import PortLinks
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.identity.rates import Rates
from lm_sandbox.identity.shares import Shares
from lm_sandbox.identity.signing_keys import SigningKeys
from lm_sandbox.identity.tokens import Tokens
from lm_sandbox.models.client import ChatClient
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
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.ports import Ports
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.shells import Shells
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.snapshots import Snapshots
from lm_sandbox.sandboxes.terminals import Terminals
from lm_sandbox.storage.database import Database
from lm_sandbox.surfaces import health, oauth, seed
from lm_sandbox.surfaces import metrics as metrics_page
from lm_sandbox.surfaces.anthropic import routes as anthropic
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.surfaces.body_limit import BodyLimit
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.doorway import Doorway
from lm_sandbox.surfaces.errors import failure_of, problem
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.exchanges import Exchanges
from lm_sandbox.surfaces.gauges import add_gauges
from lm_sandbox.surfaces.head_limit import HeadLimit
from lm_sandbox.surfaces.mcp import routes as mcp
from lm_sandbox.surfaces.mcp.endpoint import McpEndpoint
from lm_sandbox.surfaces.native import (
    audit,
    commands,
    engines,
    events,
    files,
    images,
    keys,
    port_sockets,
    ports,
    sandboxes,
    shells,
    snapshots,
    terminal_sockets,
    terminals,
)
from lm_sandbox.surfaces.ollama import embedding, generating, library
from lm_sandbox.surfaces.openai import chat, models, plain
from lm_sandbox.surfaces.openai import files as uploads
from lm_sandbox.surfaces.openai.containers import files as container_files
from lm_sandbox.surfaces.openai.containers import routes as containers
from lm_sandbox.surfaces.openai.responses import routes as responses
from lm_sandbox.surfaces.origins import Origins
from lm_sandbox.surfaces.page_headers import PageHeaders
from lm_sandbox.surfaces.slow_bodies import SlowBodies
from lm_sandbox.surfaces.swagger import add_swagger
from lm_sandbox.telemetry.happenings import Tell, tell_all, unheard
from lm_sandbox.telemetry.loop_lag import watch_loop_lag
from lm_sandbox.telemetry.metrics import Metrics

# What a form has besides its file.
FORM_BYTES = 1024 * 1024
DESCRIPTION = "A computer for local language models: models and isolated sandboxes behind one API."
MODEL_ROUTERS = (chat.ROUTER, responses.ROUTER, models.ROUTER, plain.ROUTER)
ROUTERS = (
    # Routes are tried in order, and these are asked the most.
    *MODEL_ROUTERS,
    uploads.ROUTER,
    containers.ROUTER,
    container_files.ROUTER,
    sandboxes.ROUTER,
    commands.ROUTER,
    shells.ROUTER,
    snapshots.ROUTER,
    images.ROUTER,
    events.ROUTER,
    files.ROUTER,
    ports.LINKS,
    ports.RELAYS,
    port_sockets.ROUTER,
    terminals.ROUTER,
    terminal_sockets.ROUTER,
    engines.ROUTER,
    audit.ROUTER,
    keys.ROUTER,
    oauth.ROUTER,
    oauth.INTROSPECTION,
    mcp.ROUTER,
    seed.ROUTER,
    health.ROUTER,
    metrics_page.ROUTER,
    anthropic.ROUTER,
    generating.ROUTER,
    embedding.ROUTER,
    library.ROUTER,
)
# What pages of other origins may read besides the body.
EXPOSED = ("ratelimit", "ratelimit-policy", "retry-after", "etag", "content-range")
ENGINE_IMAGES = "The docker driver takes the images of its engine; use 'docker pull' or 'docker load'"
LM_STUDIO_START = "Start LM Studio and switch its server on (Developer, or 'lms server start')."


def create_app(settings: Settings, listeners: Sequence[Tell] = ()) -> FastAPI:
    """Builds the app; nothing is started before its lifespan is entered.

    Args:
        settings: All of them.
        listeners: They hear of what happens, besides the audit and the metrics.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with start_services(settings, listeners) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="lm-sandbox",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    add_swagger(app)
    return _furnished(app, settings, ROUTERS)


def create_models_app(settings: Settings) -> FastAPI:
    """Builds what sandboxes reach of this server: the model API, and nothing else."""
    return _furnished(FastAPI(openapi_url=None), settings, MODEL_ROUTERS)


@asynccontextmanager
async def start_services(settings: Settings, listeners: Sequence[Tell] = ()) -> AsyncIterator[Services]:
    """Starts everything that the routes call, and ends it in the opposite order.

    Args:
        settings: All of them.
        listeners: They hear of what happens, besides the audit and the metrics.

    Raises:
        DriverUnavailable: this host cannot isolate; the message says what to do.
        Invalid: the configured key is too short.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as exits:
        recorded = await exits.enter_async_context(build_audit(settings.data_dir, settings.audit))
        metrics = Metrics(settings.metrics.access)
        tell = tell_all([Recorder(recorded.add, reads=settings.audit.reads), metrics, *listeners])
        database = await exits.enter_async_context(Database(settings.data_dir / "lm-sandbox.db"))
        key_store = KeyStore(database, quotas=Quotas(**settings.quotas.model_dump()))
        lifetime = timedelta(seconds=settings.tokens.lifetime_s)
        signing = SigningKeys(database, timedelta(days=settings.tokens.key_days), lifetime)
        tokens = Tokens(key_store, signing, settings.tokens)
        rates = await exits.enter_async_context(_rates(settings.limits))
        shares = Shares(rates)
        configured = settings.api_key.get_secret_value() if settings.api_key else None
        await local_key(settings).ensure(key_store, configured)
        registry = await exits.enter_async_context(build_registry(settings, tell=tell))
        client = await exits.enter_async_context(ChatClient())
        most_bytes = settings.sandbox.snapshots_mib * MIB
        store = SnapshotStore(database, settings.data_dir / "snapshots", most_bytes)
        await exits.enter_async_context(store)
        spool = settings.data_dir / "spool"
        driver = build_driver(settings)
        inside = create_models_app(settings)
        tasks = await exits.enter_async_context(anyio.create_task_group())
        exits.callback(tasks.cancel_scope.cancel)
        transport = StreamingASGITransport(inside, tasks)
        networks = Networks(driver, keys=key_store.lent, models=transport, tell=tell)
        records = SandboxStore(database)
        service = SandboxService(
            driver, settings.sandbox, store, records, spool, networks=networks, tell=tell, shares=shares
        )
        service = await exits.enter_async_context(service)
        runs = await exits.enter_async_context(RunStore(database, settings.agent.runs_kept_days))
        background = await exits.enter_async_context(BackgroundRuns(settings.agent.background_runs))
        most, largest = settings.agent.uploads_mib * MIB, settings.agent.upload_mib * MIB
        handed_in = Uploads(database, settings.data_dir / "uploads", most, largest, shares)
        shares.stores += [store.taken_by, handed_in.taken_by]
        opened = Terminals(service, driver, networks, settings.sandbox, tell)
        conversations = Conversations(service, settings.agent.conversation_idle_s)
        mcp_endpoint = McpEndpoint(service, conversations, settings)
        services = Services(
            keys=key_store,
            gate=Gate(key_store, tokens, rates, settings.limits),
            tokens=tokens,
            shares=shares,
            sandboxes=service,
            snapshots=Snapshots(service, driver, store, shares),
            images=build_images(settings, service),
            models=registry,
            chat=client,
            agent=AgentLoop(registry, client, service, settings.agent, shares),
            conversations=conversations,
            runs=runs,
            background=background,
            uploads=await exits.enter_async_context(handed_in),
            links=PortLinks(),
            ports=Ports(service, driver),
            shells=await exits.enter_async_context(Shells(service)),
            terminals=await exits.enter_async_context(opened),
            origins=Origins(settings.allowed_origins),
            audit=recorded,
            tell=tell,
            metrics=metrics,
            mcp=await exits.enter_async_context(mcp_endpoint),
        )
        add_gauges(metrics, service, registry, recorded)
        tasks.start_soon(watch_loop_lag, metrics.loop_lag.observe)
        inside.state.services = replace(services, gate=InnerGate(key_store, tokens, rates, settings.limits))
        yield services


def local_key(settings: Settings) -> LocalKey:
    """Returns where this machine's own key is kept."""
    return LocalKey(settings.data_dir / "api-key")


def build_driver(settings: Settings) -> SandboxDriver:
    """Builds the driver that makes sandboxes."""
    sandbox = settings.sandbox
    if sandbox.driver == "docker":
        return DockerDriver(settings.docker, settings.data_dir / "docker", sandbox.image)
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
    )
    found: list[Engine] = [
        *(OpenAIEngine(upstream_of(name, engine)) for name, engine in settings.engines.items()),
        OllamaEngine(upstream.ollama_url, upstream.probe_timeout_s, upstream.ollama_api_key),
        OpenAIEngine(lm_studio),
        LlamaCppEngine(settings.llamacpp, models_dir(settings), leases=leases),
    ]
    return ModelRegistry(found, settings.default_model, tell=tell)


def models_dir(settings: Settings) -> Path:
    """Returns the folder in which GGUF files are looked for."""
    return settings.llamacpp.models_dir or settings.data_dir / "models"


@asynccontextmanager
async def _rates(settings: LimitSettings) -> AsyncIterator[Rates]:
    if settings.store is None:
        yield Rates()
        return
    async with shared_counters(settings.store.get_secret_value()) as counters:
        yield Rates(counters)


def _furnished(app: FastAPI, settings: Settings, routers: Iterable[APIRouter]) -> FastAPI:
    bounds = {
        files.STREAMED: None,
        images.STREAMED: None,
        uploads.UPLOADED: settings.agent.upload_mib * MIB + FORM_BYTES,
    }
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, others=bounds)
    app.add_middleware(SlowBodies)
    app.add_middleware(HeadLimit)
    app.add_middleware(Doorway)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(PageHeaders)
    # Outermost: what the others refuse is told of as well.
    app.add_middleware(Exchanges)
    for error in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _as_problem)
    for router in routers:
        app.include_router(router)
    return app


async def _as_problem(request: Request, error: Exception) -> Response:
    failure = failure_of(error)
    exchange_of(request).code = failure.code
    return problem(failure)
