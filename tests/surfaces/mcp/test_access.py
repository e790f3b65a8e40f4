"""Keys, scopes and web pages: who may speak MCP here."""

import subprocess
import sys

import httpx
import pytest

from lm_sandbox.identity.principals import Scope
from tests.conftest import KEY, Server
from tests.surfaces.mcp.conftest import issue
from tests.surfaces.mcp.test_sessions import BASE, INITIALIZE

pytestmark = pytest.mark.anyio


async def initialize(server: Server, **headers: str) -> httpx.Response:
    sent = {**BASE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.url}/mcp", headers=sent, json=INITIALIZE)


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}])
async def test_without_a_key_it_is_told_where_keys_are_described(
    mcp_server: Server, header: dict[str, str]
) -> None:
    refused = await initialize(mcp_server, **header)
    assert refused.status_code == 401
    metadata = f"{mcp_server.url}/.well-known/oauth-protected-resource/mcp"
    challenge = refused.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{metadata}"' in challenge
    assert 'scope="sandboxes"' in challenge
    assert ('error="invalid_token"' in challenge) == bool(header)
    assert refused.json()["error"]["data"] == {"code": "unauthenticated"}
    async with httpx.AsyncClient() as client:
        told = (await client.get(metadata)).json()
        whole = (await client.get(metadata.removesuffix("/mcp"))).json()
    # What is asked for at the root is about all that is below it.
    assert whole["resource"] == mcp_server.url
    assert set(told["scopes_supported"]) < set(whole["scopes_supported"])
    assert told["resource"] == f"{mcp_server.url}/mcp"
    assert told["scopes_supported"] == ["sandboxes"]
    assert told["bearer_methods_supported"] == ["header"]


async def test_a_key_of_another_scope_is_told_which_it_takes(mcp_server: Server) -> None:
    narrow = await issue(mcp_server, Scope.MODELS)
    refused = await initialize(mcp_server, authorization=f"Bearer {narrow}")
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"].startswith('Bearer error="insufficient_scope"')
    assert "sandboxes" in refused.json()["error"]["message"]


async def test_the_key_is_also_taken_from_x_api_key(mcp_server: Server) -> None:
    assert (await initialize(mcp_server, x_api_key=KEY)).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("own", None, 200),
        ("http://localhost:8000", "localhost:8000", 200),
        ("https://tools.example", None, 200),
        ("https://tools.example", "tools.example", 200),
        ("http://evil.example", None, 403),
        ("null", None, 403),
        # A name that its owner has pointed here: for the browser all this is one origin.
        ("http://evil.example:8000", "evil.example:8000", 403),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", 403),
        ("http://[evil", "[evil", 403),
    ],
)
async def test_web_pages_of_others_are_refused(
    mcp_server: Server, origin: str, host: str | None, status: int
) -> None:
    headers = {"origin": mcp_server.url if origin == "own" else origin}
    if host is not None:
        headers["host"] = host
    answer = await initialize(mcp_server, authorization=f"Bearer {KEY}", **headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 400),
        (b"{}", {"Accept": "text/html"}, 406),
        (b"{}", {"MCP-Protocol-Version": "1999-01-01"}, 400),
        (b"x" * (17 * 1024 * 1024), {}, 413),
    ],
)
async def test_what_is_no_message_is_refused(
    api: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await api.post("/mcp", headers={**BASE, **headers}, content=body)
    assert answer.status_code == status
    assert KEY not in answer.text


def test_the_sdk_is_not_loaded_before_somebody_speaks_mcp() -> None:
    # It takes half a second, which no other command has to spend.
    code = "import sys, lm_sandbox.app; sys.exit('mcp' in sys.modules or 'mcp_types' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
