"""A real server, and the official client in both eras of the protocol."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Implementation

from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.principals import Scope
from lm_sandbox.storage.database import Database
from tests.conftest import KEY, NOWHERE, Server, serving

# What the client asks for: the newest revision, or a session of 2025-11-25.
ERAS = ("auto", "legacy")
TIMEOUT_S = 60

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def mcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {
        **os.environ,
        "LM_SANDBOX_DATA_DIR": str(tmp_path_factory.mktemp("mcp") / "data"),
        "LM_SANDBOX_API_KEY": KEY,
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": NOWHERE,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": NOWHERE,
        "LM_SANDBOX_ALLOWED_ORIGINS": '["https://tools.example"]',
    }
    with serving(env) as (_, server):
        yield server


@pytest.fixture
async def api(mcp_server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """The server's own API, as its admin."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=mcp_server.url, headers=headers, timeout=TIMEOUT_S) as client:
        yield client


@pytest.fixture
async def stranger(mcp_server: Server) -> str:
    """Another key with the right scope."""
    return await issue(mcp_server, Scope.SANDBOXES)


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(mcp_server: Server) -> Connect:
    """Connects the official client; `headers` are sent with every request."""

    @asynccontextmanager
    async def connecting(
        mode: str = "auto", key: str = KEY, headers: dict[str, str] | None = None, name: str = "test"
    ) -> AsyncIterator[Client]:
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        async with httpx2.AsyncClient(headers=sent, timeout=TIMEOUT_S) as http:
            transport = streamable_http_client(f"{mcp_server.url}/mcp", http_client=http)
            info = Implementation(name=name, version="1")
            async with Client(transport, mode=mode, client_info=info) as client:
                yield client

    return connecting


@pytest.fixture
async def mcp(connect: Connect, era: str) -> AsyncIterator[Client]:
    async with connect(era) as client:
        yield client


async def issue(server: Server, scope: Scope) -> str:
    """Makes a key beside the server, in its database."""
    async with Database(server.data_dir / "lm-sandbox.db") as database:
        return (await KeyStore(database).issue("other", frozenset({scope}))).token


def text_of(result: CallToolResult) -> str:
    first = result.content[0]
    assert first.type == "text"
    return first.text


def details_of(result: CallToolResult) -> dict[str, object]:
    assert result.meta is not None
    assert not result.is_error, text_of(result)
    found: dict[str, object] = result.meta["lm-sandbox/result"]
    return found


def error_of(result: CallToolResult) -> dict[str, object]:
    assert result.is_error
    assert result.meta is not None
    found: dict[str, object] = result.meta["lm-sandbox/error"]
    return found
