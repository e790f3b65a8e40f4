"""The MCP project's own conformance suite and inspector against a real server; see scripts/test-mcp."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.conftest import KEY, Server, lm_sandbox
from tests.node import INSTALLED, node

CONFORMANCE = INSTALLED / "@modelcontextprotocol/conformance/dist/index.js"
# What the suite wants of every server there can be: these ask for tools, prompts and features of its own example.
WHOLE = {
    "2025-11-25": ("server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list",
                   "server-sse-multiple-streams", "dns-rebinding-protection"),
    "2026-07-28": ("tools-list", "resources-list", "server-sse-multiple-streams", "dns-rebinding-protection",
                   "http-header-validation", "sep-2164-resource-not-found",
                   "input-required-result-unsupported-methods"),
}  # fmt: skip
# The checks of a scenario that cannot be made of us: we have no prompts, and no tools that ask for capabilities.
NOT_OURS = {
    "caching": {"sep-2549-prompts-list-caching-hints"},
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
    },
}

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="no npm; see scripts/test-mcp")


@contextmanager
def keyed(server: Server) -> Iterator[str]:
    """The server's `/mcp` for clients that have no way to send a key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            sent = {
                name: value.strip()
                for name, value in self.headers.items()
                if name.lower() != "content-length"
            }
            sent["Authorization"] = f"Bearer {KEY}"
            with httpx.stream(self.command, server.url + self.path, headers=sent, content=body) as answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in {"transfer-encoding", "content-length", "connection", "date"}:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                for piece in answer.iter_raw():
                    self.wfile.write(piece)
                    self.wfile.flush()

        do_GET = do_POST = do_DELETE = relay  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}/mcp"
        proxy.shutdown()


def checks_of(url: str, folder: Path, *more: str) -> dict[str, list[dict[str, Any]]]:
    """Runs scenarios and returns their checks; a scenario's folder is called by it and the time."""
    ran = node(CONFORMANCE, "server", "--url", url, "-o", folder, *more)
    found = {
        re.sub(r"^server-(.*)-\d{4}-\d\d-\d\dT.*$", r"\1", path.parent.name): json.loads(path.read_text())
        for path in folder.rglob("checks.json")
    }
    assert found, ran.stdout + ran.stderr
    return found


def failures(checks: list[dict[str, Any]]) -> set[str]:
    assert any(check["status"] == "SUCCESS" for check in checks)
    return {check["id"] for check in checks if check["status"] == "FAILURE"}


@pytest.mark.parametrize("revision", WHOLE)
def test_the_conformance_suite_passes(mcp_server: Server, tmp_path: Path, revision: str) -> None:
    with keyed(mcp_server) as url:
        found = checks_of(url, tmp_path, "--suite", "all", "--spec-version", revision)
    assert {name: failures(found[name]) for name in WHOLE[revision]} == {
        name: set() for name in WHOLE[revision]
    }
    missed = {name: failures(found[name]) for name in NOT_OURS if name in found}
    assert missed == {name: NOT_OURS[name] for name in missed}
    assert bool(missed) == (revision == "2026-07-28")


def inspect(target: list[str], method: str, *arguments: str, env: dict[str, str] | None = None) -> Any:  # noqa: ANN401
    inspector = INSTALLED / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
    ran = node(inspector, "--cli", *target, "--method", method, *arguments, env=env)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("way", ["http", "stdio"])
def test_the_inspector_lists_and_calls(mcp_server: Server, way: str, tmp_path: Path) -> None:
    http = [f"{mcp_server.url}/mcp", "--transport", "http", "--header", f"Authorization: Bearer {KEY}"]
    told = {"LM_SANDBOX_DATA_DIR": str(mcp_server.data_dir), "LM_SANDBOX_API_KEY": KEY}
    if path := os.environ.get("PYTHONPATH"):
        told["PYTHONPATH"] = path
    stdio = [
        lm_sandbox(),
        "mcp",
        *(part for name, value in told.items() for part in ("-e", f"{name}={value}")),
    ]
    target = http if way == "http" else stdio
    env = {"HOME": str(tmp_path)}
    listed = inspect(target, "tools/list", "--strict", env=env)
    assert {"bash", "read_file"} <= {tool["name"] for tool in listed["tools"]}
    called = inspect(
        target, "tools/call", "--tool-name", "bash", "--tool-arg", "command=echo from $((40 + 2))", env=env
    )
    assert called["content"][0]["text"] == "from 42"
    assert re.fullmatch(r"sb_\w+", called["_meta"]["lm-sandbox/result"]["sandbox"])
    assert inspect(target, "resources/templates/list", env=env)["resourceTemplates"]
