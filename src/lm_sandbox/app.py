"""The composition root: builds every object once, and enters and leaves them in order."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup
from fastapi import FastAPI

from lm_sandbox.agent.background import BackgroundRuns
from lm_sandbox.agent.conversation_sandboxes import ConversationSandboxes
from lm_sandbox.agent.conversation_store import ConversationStore
from lm_sandbox.agent.conversations import Conversations
from lm_sandbox.agent.loop import AgentLoop
from lm_sandbox.agent.run_store import RunStore
from lm_sandbox.agent.uploads import Uploads
from lm_sandbox.audit.log import AuditLog
from lm_sandbox.audit.opening import build_audit
from lm_sandbox.audit.recording import Recorder
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.access import Access, build_access
from lm_sandbox.identity.local_key import local_key
from lm_sandbox.identity.port_links import PortLinks
from lm_sandbox.identity.shared_secret import shared_secret
from lm_sandbox.identity.shares import Shares
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.parts import (
    build_driver,
    build_images,
    build_registry,
    open_rates,
    open_traces,
)
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.gpus import Gpus
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.ports import Ports
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.shells import Shells
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.snapshots import Snapshots
from lm_sandbox.sandboxes.terminals import Terminals
from lm_sandbox.sandboxes.volume_store import VolumeStore
from lm_sandbox.sandboxes.volumes import Volumes
from lm_sandbox.storage.database import Database, backend_of
from lm_sandbox.storage.servers import SERVERS, Servers
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.gauges import add_gauges
from lm_sandbox.surfaces.mcp.endpoint import McpEndpoint
from lm_sandbox.surfaces.origins import Origins
from lm_sandbox.telemetry.happenings import Tell, tell_all
from lm_sandbox.telemetry.loop_lag import watch_loop_lag
from lm_sandbox.telemetry.metrics import Metrics
from lm_sandbox.web import create_models_app, create_web_app


def create_app(settings: Settings, listeners: Sequence[Tell] = (), servers: Servers | None = None) -> FastAPI:
    """Builds the app; nothing is started before its lifespan is entered.

    Args:
        settings: All of them.
        listeners: They hear of what happens, besides the audit and the metrics.
        servers: The other processes over the data directory, for one that they are to find.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with start_services(settings, listeners, servers) as services:
            app.state.services = services
            yield

    return create_web_app(settings, lifespan)


@asynccontextmanager
async def start_services(
    settings: Settings, listeners: Sequence[Tell] = (), servers: Servers | None = None
) -> AsyncIterator[Services]:
    """Starts everything that the routes call, and ends it in the opposite order.

    Args:
        settings: All of them.
        listeners: They hear of what happens, besides the audit and the metrics.
        servers: The other processes over the data directory, for one that they are to find.

    Raises:
        DriverUnavailable: this host cannot isolate; the message says what to do.
        Invalid: the configured key is too short.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as exits:
        ground = await _enter_ground(
            exits, settings, listeners, servers or Servers(settings.data_dir / SERVERS)
        )
        leases = GpuLeases()
        models = Models(
            registry=await exits.enter_async_context(build_registry(settings, leases, ground.tell)),
            client=await exits.enter_async_context(ChatClient()),
        )
        sandboxes = await _enter_sandboxes(exits, ground, leases)
        services = await _enter_services(exits, ground, models, sandboxes)
        add_gauges(ground.metrics, sandboxes.service, models.registry, ground.recorded)
        sandboxes.tasks.start_soon(watch_loop_lag, ground.metrics.loop_lag.observe)
        # Those that come from within a sandbox were let in by an address of their own.
        sandboxes.inside.state.services = replace(services, gate=ground.access.inner_gate)
        yield services


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything else stands on: who may come, what is remembered, who hears of what happens."""

    settings: Settings
    servers: Servers
    recorded: AuditLog
    metrics: Metrics
    tell: Tell
    database: Database
    access: Access
    shares: Shares


@dataclass(frozen=True, slots=True)
class Models:
    """The models and the way to them."""

    registry: ModelRegistry
    client: ChatClient


@dataclass(frozen=True, slots=True)
class Sandboxes:
    """The sandboxes with what is kept of them.

    Attributes:
        inside: The app that sandboxes reach.
        tasks: End with the server.
    """

    service: SandboxService
    driver: SandboxDriver
    networks: Networks
    snapshots: SnapshotStore
    volumes: VolumeStore
    inside: FastAPI
    tasks: TaskGroup


async def _enter_ground(
    exits: AsyncExitStack, settings: Settings, listeners: Sequence[Tell], servers: Servers
) -> Ground:
    await exits.enter_async_context(servers)
    recorded = await exits.enter_async_context(build_audit(settings.data_dir, settings.audit))
    metrics = Metrics(settings.metrics.access)
    traces = await exits.enter_async_context(open_traces(settings.traces))
    recorder = Recorder(recorded.add, reads=settings.audit.reads)
    tell = tell_all([recorder, metrics, *traces, *listeners])
    database = await exits.enter_async_context(Database(backend_of(settings.database, settings.data_dir)))
    rates = await exits.enter_async_context(open_rates(settings.limits))
    access = build_access(settings, database, rates, tell)
    configured = settings.api_key.get_secret_value() if settings.api_key else None
    await local_key(settings).ensure(access.keys, configured)
    return Ground(settings, servers, recorded, metrics, tell, database, access, Shares(rates))


async def _enter_sandboxes(exits: AsyncExitStack, ground: Ground, leases: GpuLeases) -> Sandboxes:
    settings, alone = ground.settings, ground.servers.is_alone
    most_bytes = settings.sandbox.snapshots_mib * MIB
    snapshots = SnapshotStore(ground.database, settings.data_dir / "snapshots", most_bytes, alone)
    await exits.enter_async_context(snapshots)
    volumes = VolumeStore(ground.database, settings.data_dir / "volumes", alone)
    await exits.enter_async_context(volumes)
    driver = build_driver(settings)
    inside = create_models_app(settings)
    tasks = await exits.enter_async_context(anyio.create_task_group())
    exits.callback(tasks.cancel_scope.cancel)
    transport = StreamingASGITransport(inside, tasks)
    networks = Networks(driver, keys=ground.access.keys.lent, models=transport, tell=ground.tell)
    service = SandboxService(
        driver,
        settings.sandbox,
        snapshots,
        SandboxStore(ground.database),
        settings.data_dir / "spool",
        networks=networks,
        tell=ground.tell,
        shares=ground.shares,
        servers=ground.servers,
        gpus=Gpus(settings.sandbox, leases),
        volumes=volumes,
    )
    await exits.enter_async_context(service)
    ground.shares.stores += [snapshots.taken_by, volumes.taken_by]
    return Sandboxes(service, driver, networks, snapshots, volumes, inside, tasks)


async def _enter_services(
    exits: AsyncExitStack, ground: Ground, models: Models, sandboxes: Sandboxes
) -> Services:
    settings, database, access, tell = ground.settings, ground.database, ground.access, ground.tell
    service, driver, shares = sandboxes.service, sandboxes.driver, ground.shares
    most, largest = settings.agent.uploads_mib * MIB, settings.agent.upload_mib * MIB
    kept_in, alone = settings.data_dir / "uploads", ground.servers.is_alone
    handed_in = Uploads(database, kept_in, most, largest, shares, alone=alone)
    shares.stores.append(handed_in.taken_by)
    opened = Terminals(service, driver, sandboxes.networks, settings.sandbox, tell)
    kept = ConversationSandboxes(database)
    conversations = Conversations(service, kept, settings.agent.conversation_idle_s)
    return Services(
        keys=access.keys,
        users=access.users,
        logins=access.logins,
        sign_in=access.sign_in,
        issuers=access.issuers,
        gate=access.gate,
        tokens=access.tokens,
        shares=shares,
        sandboxes=service,
        snapshots=Snapshots(service, driver, sandboxes.snapshots, shares),
        volumes=Volumes(sandboxes.volumes, settings.sandbox, shares, service.holders),
        images=build_images(settings, service),
        models=models.registry,
        chat=models.client,
        agent=AgentLoop(models.registry, models.client, service, settings.agent, shares, tell=tell),
        conversations=conversations,
        kept_conversations=ConversationStore(database, settings.agent.runs_kept_days),
        runs=await exits.enter_async_context(RunStore(database, settings.agent.runs_kept_days)),
        background=await exits.enter_async_context(BackgroundRuns(settings.agent.background_runs)),
        uploads=await exits.enter_async_context(handed_in),
        links=PortLinks(shared_secret(settings.data_dir / "links.key")),
        ports=Ports(service, driver),
        shells=await exits.enter_async_context(Shells(service, driver)),
        terminals=await exits.enter_async_context(opened),
        origins=Origins(settings.allowed_origins),
        audit=ground.recorded,
        tell=tell,
        metrics=ground.metrics,
        mcp=await exits.enter_async_context(McpEndpoint(service, conversations, settings)),
        servers=ground.servers,
    )
