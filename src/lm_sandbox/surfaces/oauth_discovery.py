"""What OAuth clients find by themselves: the keys that check tokens, and what is where.

Sources: RFC 7517; RFC 8414; RFC 9728, for this server as a whole; MCP's own part of it is in `surfaces/mcp`.
"""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from lm_sandbox.config.access import is_safe_url
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Deps
from lm_sandbox.surfaces.errors import raw_route_class
from lm_sandbox.surfaces.oauth import GRANTS
from lm_sandbox.surfaces.oauth_forms import oauth_error
from lm_sandbox.surfaces.protected_resource import METADATA, base_url, describe

# No secret is in them, and clients in browsers ask for them before they have any key.
FOR_ALL = {"Access-Control-Allow-Origin": "*"}

ROUTER = APIRouter(tags=["oauth"], route_class=raw_route_class(oauth_error))


@ROUTER.get("/.well-known/jwks.json")
async def show_keys(deps: Deps) -> JSONResponse:
    """Tells the public keys that check tokens (RFC 7517)."""
    return JSONResponse({"keys": await deps.tokens.public_keys()}, headers=FOR_ALL)


@ROUTER.get("/.well-known/oauth-authorization-server")
async def show_metadata(request: Request, deps: Deps) -> JSONResponse:
    """Tells OAuth clients what is where (RFC 8414)."""
    issuer = deps.tokens.issuer
    base = issuer.rstrip("/") if is_safe_url(issuer) else base_url(request)
    return JSONResponse(
        {
            "issuer": issuer,
            "token_endpoint": f"{base}/oauth/token",
            "revocation_endpoint": f"{base}/oauth/revoke",
            "introspection_endpoint": f"{base}/oauth/introspect",
            "jwks_uri": f"{base}/.well-known/jwks.json",
            "grant_types_supported": [*GRANTS],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint_auth_methods_supported": ["Bearer"],
            "scopes_supported": sorted(Scope),
            "response_types_supported": [],
        },
        headers=FOR_ALL,
    )


@ROUTER.get(METADATA)
async def show_resource(request: Request, deps: Deps) -> JSONResponse:
    """Tells which tokens this server takes, and who issues them (RFC 9728)."""
    base = base_url(request)
    told = describe(base, base, sorted(Scope), deps.tokens.issuer, deps.issuers.addresses)
    return JSONResponse(told, headers=FOR_ALL)
