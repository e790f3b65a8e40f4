"""The composition root: builds every object once, and enters and leaves them in order."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import anyio
from fastapi import FastAPI

from lm_sandbox.agent.background import BackgroundRuns
from lm_sandbox.agent.conversation_sandboxes import ConversationSandboxes
from lm_sandbox.agent.conversation_store import ConversationStore
from lm_sandbox.agent.conversations import Conversations
from lm_sandbox.agent.loop import AgentLoop
from lm_sandbox.agent.run_store import RunStore
from lm_sandbox.agent.uploads import Uploads
from lm_sandbox.audit.opening import build_audit
from lm_sandbox.audit.recording import Recorder
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.access import build_access
from lm_sandbox.identity.port_links import PortLinks
from lm_sandbox.identity.shared_secret import shared_secret
from lm_sandbox.identity.shares import Shares
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.parts import (
    SERVERS,
    build_driver,
    build_images,
    build_registry,
    local_key,
    open_rates,
    open_traces,
)
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
from lm_sandbox.storage.servers import Servers
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
    servers = servers or Servers(settings.data_dir / SERVERS)
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(servers)
        recorded = await exits.enter_async_context(build_audit(settings.data_dir, settings.audit))
        metrics = Metrics(settings.metrics.access)
        traces = await exits.enter_async_context(open_traces(settings.traces))
        recorder = Recorder(recorded.add, reads=settings.audit.reads)
        tell = tell_all([recorder, metrics, *traces, *listeners])
        database = await exits.enter_async_context(Database(backend_of(settings.database, settings.data_dir)))
        rates = await exits.enter_async_context(open_rates(settings.limits))
        access = build_access(settings, database, rates, tell)
        shares = Shares(rates)
        configured = settings.api_key.get_secret_value() if settings.api_key else None
        await local_key(settings).ensure(access.keys, configured)
        leases = GpuLeases()
        registry = await exits.enter_async_context(build_registry(settings, leases, tell))
        client = await exits.enter_async_context(ChatClient())
        most_bytes = settings.sandbox.snapshots_mib * MIB
        store = SnapshotStore(database, settings.data_dir / "snapshots", most_bytes, servers.is_alone)
        await exits.enter_async_context(store)
        volume_store = VolumeStore(database, settings.data_dir / "volumes", servers.is_alone)
        await exits.enter_async_context(volume_store)
        spool = settings.data_dir / "spool"
        driver = build_driver(settings)
        inside = create_models_app(settings)
        tasks = await exits.enter_async_context(anyio.create_task_group())
        exits.callback(tasks.cancel_scope.cancel)
        transport = StreamingASGITransport(inside, tasks)
        networks = Networks(driver, keys=access.keys.lent, models=transport, tell=tell)
        records = SandboxStore(database)
        service = SandboxService(
            driver,
            settings.sandbox,
            store,
            records,
            spool,
            networks=networks,
            tell=tell,
            shares=shares,
            servers=servers,
            gpus=Gpus(settings.sandbox, leases),
            volumes=volume_store,
        )
        service = await exits.enter_async_context(service)
        runs = await exits.enter_async_context(RunStore(database, settings.agent.runs_kept_days))
        background = await exits.enter_async_context(BackgroundRuns(settings.agent.background_runs))
        most, largest = settings.agent.uploads_mib * MIB, settings.agent.upload_mib * MIB
        kept_in = settings.data_dir / "uploads"
        handed_in = Uploads(database, kept_in, most, largest, shares, alone=servers.is_alone)
        shares.stores += [store.taken_by, handed_in.taken_by, volume_store.taken_by]
        opened = Terminals(service, driver, networks, settings.sandbox, tell)
        conversations = Conversations(
            service, ConversationSandboxes(database), settings.agent.conversation_idle_s
        )
        mcp_endpoint = McpEndpoint(service, conversations, settings)
        services = Services(
            keys=access.keys,
            users=access.users,
            logins=access.logins,
            sign_in=access.sign_in,
            issuers=access.issuers,
            gate=access.gate,
            tokens=access.tokens,
            shares=shares,
            sandboxes=service,
            snapshots=Snapshots(service, driver, store, shares),
            volumes=Volumes(volume_store, settings.sandbox, shares, service.holders),
            images=build_images(settings, service),
            models=registry,
            chat=client,
            agent=AgentLoop(registry, client, service, settings.agent, shares, tell=tell),
            conversations=conversations,
            kept_conversations=ConversationStore(database, settings.agent.runs_kept_days),
            runs=runs,
            background=background,
            uploads=await exits.enter_async_context(handed_in),
            links=PortLinks(shared_secret(settings.data_dir / "links.key")),
            ports=Ports(service, driver),
            shells=await exits.enter_async_context(Shells(service, driver)),
            terminals=await exits.enter_async_context(opened),
            origins=Origins(settings.allowed_origins),
            audit=recorded,
            tell=tell,
            metrics=metrics,
            mcp=await exits.enter_async_context(mcp_endpoint),
            servers=servers,
        )
        add_gauges(metrics, service, registry, recorded)
        tasks.start_soon(watch_loop_lag, metrics.loop_lag.observe)
        inside.state.services = replace(services, gate=access.inner_gate)
        yield services
