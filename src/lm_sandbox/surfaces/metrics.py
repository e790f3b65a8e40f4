"""/metrics, for Prometheus."""

from ipaddress import ip_address

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lm_sandbox.config.insight import MetricsAccess
from lm_sandbox.errors import NotFound
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import BEARER, Deps, principal_of
from lm_sandbox.surfaces.errors import problem, raw_route_class
from lm_sandbox.surfaces.exchange import exchange_of

ROUTER = APIRouter(tags=["health"], route_class=raw_route_class(problem))
# What says that a proxy stands before this server, which would make everybody a neighbour.
FORWARDING = ("forwarded", "x-forwarded-for", "via")


async def check_access(request: Request, deps: Deps) -> None:
    """Lets through who may read the metrics.

    Raises:
        NotFound: they are switched off.
        Unauthenticated: there is no key.
        Forbidden: the key lacks the scope `metrics`.
    """
    if deps.metrics.access is MetricsAccess.OFF:
        raise NotFound("Metrics are switched off; see the setting metrics.access.")
    if deps.metrics.access is MetricsAccess.LOOPBACK and _is_neighbour(request):
        return
    principal = await principal_of(request, deps)
    exchange_of(request).scope = Scope.METRICS.value
    principal.require(Scope.METRICS)


@ROUTER.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    dependencies=[Depends(check_access), Depends(BEARER)],
)
async def metrics(deps: Deps) -> Response:
    """What is counted and timed, in the text format of Prometheus; needs the scope `metrics`."""
    return Response(await anyio.to_thread.run_sync(deps.metrics.render), media_type=CONTENT_TYPE_LATEST)


def _is_neighbour(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in FORWARDING):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
