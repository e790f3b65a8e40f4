"""The web apps: which routes they have, what every request passes, and how errors leave."""

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from lm_sandbox import __version__
from lm_sandbox.config.settings import Settings
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.surfaces import health, oauth, oauth_discovery, oauth_introspection, seed
from lm_sandbox.surfaces import metrics as metrics_page
from lm_sandbox.surfaces.anthropic import routes as anthropic
from lm_sandbox.surfaces.body_limit import BodyLimit
from lm_sandbox.surfaces.doorway import Doorway
from lm_sandbox.surfaces.errors import failure_in, problem
from lm_sandbox.surfaces.exchanges import Exchanges
from lm_sandbox.surfaces.forwarding.middleware import Forwarding
from lm_sandbox.surfaces.head_limit import HeadLimit
from lm_sandbox.surfaces.mcp import routes as mcp
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
    users,
    volumes,
)
from lm_sandbox.surfaces.ollama import embedding, generating, library
from lm_sandbox.surfaces.openai import chat, conversations, models, plain
from lm_sandbox.surfaces.openai import files as uploads
from lm_sandbox.surfaces.openai.containers import files as container_files
from lm_sandbox.surfaces.openai.containers import routes as containers
from lm_sandbox.surfaces.openai.responses import routes as responses
from lm_sandbox.surfaces.page_headers import PageHeaders
from lm_sandbox.surfaces.route_index import RouteIndex
from lm_sandbox.surfaces.slow_bodies import SlowBodies
from lm_sandbox.surfaces.swagger import add_swagger

# What a form has besides its file.
FORM_BYTES = 1024 * 1024


DESCRIPTION = "A computer for local language models: models and isolated sandboxes behind one API."


MODEL_ROUTERS = (chat.ROUTER, responses.ROUTER, conversations.ROUTER, models.ROUTER, plain.ROUTER)


ROUTERS = (
    # Routes are tried in order, and these are asked the most.
    commands.ROUTER,
    shells.ROUTER,
    files.ROUTER,
    *MODEL_ROUTERS,
    sandboxes.ROUTER,
    health.ROUTER,
    uploads.ROUTER,
    containers.ROUTER,
    container_files.ROUTER,
    snapshots.ROUTER,
    volumes.ROUTER,
    images.ROUTER,
    events.ROUTER,
    ports.LINKS,
    ports.RELAYS,
    port_sockets.ROUTER,
    terminals.ROUTER,
    terminal_sockets.ROUTER,
    engines.ROUTER,
    audit.ROUTER,
    keys.ROUTER,
    users.ROUTER,
    oauth.ROUTER,
    oauth.REVOCATION,
    oauth_introspection.ROUTER,
    oauth_discovery.ROUTER,
    mcp.ROUTER,
    seed.ROUTER,
    metrics_page.ROUTER,
    anthropic.ROUTER,
    generating.ROUTER,
    embedding.ROUTER,
    library.ROUTER,
)


# What pages of other origins may read besides the body.
EXPOSED = ("ratelimit", "ratelimit-policy", "retry-after", "etag", "content-range")


def create_web_app(settings: Settings, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """Builds the app of the whole server.

    Args:
        settings: All of them.
        lifespan: Starts the services that the routes call, and ends them.
    """
    app = FastAPI(
        title="lm-sandbox",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    add_swagger(app)
    _furnished(app, settings, ROUTERS)
    app.add_middleware(Forwarding, most_bytes=settings.max_body_bytes)
    return app


def create_models_app(settings: Settings) -> FastAPI:
    """Builds what sandboxes reach of this server: the model API, and nothing else."""
    return _furnished(FastAPI(openapi_url=None), settings, MODEL_ROUTERS)


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
        # The routes as they are: of a router that is included each is looked for twice.
        app.router.routes.extend(router.routes)
    app.router.middleware_stack = RouteIndex(app.router, app.router.middleware_stack)
    return app


async def _as_problem(request: Request, error: Exception) -> Response:
    return problem(failure_in(request, error))
