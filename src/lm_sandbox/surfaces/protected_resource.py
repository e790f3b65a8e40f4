"""How this server is protected, for clients that have no key yet.

Sources: RFC 9728; RFC 6750, section 3; modelcontextprotocol.io, "Authorization".
"""

import re
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from lm_sandbox.config.access import is_safe_url

# The name in a request is the client's own choice, and goes into headers between quotation marks.
PLAIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,255}/")
METADATA = "/.well-known/oauth-protected-resource"


def base_url(connection: HTTPConnection) -> str:
    """Returns the address of this server as the client wrote it, without a slash at the end."""
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    url = str(connection.base_url.replace(scheme=scheme))
    return url.rstrip("/") if PLAIN.fullmatch(url) else f"{scheme}://invalid"


def challenge(connection: HTTPConnection) -> str:
    """Writes `WWW-Authenticate` for who has no key that works."""
    known = {"authorization", "x-api-key"} & set(connection.headers.keys())
    error = 'error="invalid_token", ' if known else ""
    return f'Bearer {error}resource_metadata="{base_url(connection)}{METADATA}"'


def describe(
    resource: str, base: str, scopes: Sequence[str], own_issuer: str, others: Sequence[str]
) -> dict[str, object]:
    """Writes the metadata of RFC 9728.

    Args:
        resource: The address that is protected.
        base: That of this server.
        scopes: Those that are needed there.
        own_issuer: Who issues this server's own tokens; told where it is an address that clients can go to.
        others: Issuers elsewhere whose tokens count here.
    """
    servers = [*([own_issuer] if is_safe_url(own_issuer) else []), *others]
    return {
        "resource": resource,
        "resource_name": "lm-sandbox",
        **({"authorization_servers": servers} if servers else {}),
        "bearer_methods_supported": ["header"],
        "scopes_supported": [*scopes],
        "resource_documentation": f"{base}/docs",
    }
