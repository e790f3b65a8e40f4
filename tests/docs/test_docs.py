"""Holds the documentation to the code."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

from lm_sandbox import errors
from lm_sandbox.app import create_app
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.surfaces.deps import Services

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/api.md").read_text()
README = (ROOT / "README.md").read_text()
MCP = (ROOT / "docs/mcp.md").read_text()


def test_the_page_of_settings_is_what_the_settings_say() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/settings.md").read_text() == module.page()
    assert "| `sandbox.pids` | `LM_SANDBOX_SANDBOX__PIDS` | 256 |" in module.page()


def test_every_route_is_documented(settings: Settings) -> None:
    for path, methods in create_app(settings).openapi()["paths"].items():
        for method in methods:
            assert f"| `{method.upper()} {path}` |" in API


def test_every_error_code_is_documented() -> None:
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LmSandboxError)
    ]
    codes = {kind.code for kind in found if kind is not LmSandboxError}
    assert len(codes) > 10
    for code in codes:
        assert f"`{code}`" in API


@pytest.mark.parametrize("command", ["make run", "make test", "make serve"])
def test_the_readme_says_the_commands(command: str) -> None:
    assert command in README


def test_the_examples_of_settings_are_some(tmp_path: Path) -> None:
    issuer, models = re.findall(r"```toml\n(.*?)```", API, re.DOTALL)
    found = Settings.model_validate({"data_dir": tmp_path, **tomllib.loads(issuer)})
    assert found.oidc["corp"].scopes["operator"] == ("admin",)
    found = Settings.model_validate({"data_dir": tmp_path, **tomllib.loads(models)})
    assert found.llamacpp.models["bge-m3"].pinned
    assert found.engines["vllm"].base_url == "http://gpu-box:8000"


def test_the_settings_for_mcp_hosts_are_json_that_leads_here() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", MCP, re.DOTALL)]
    servers = [one.get("mcpServers", one.get("servers"))["lm-sandbox"] for one in examples]
    assert [server.get("url", server.get("args")) for server in servers] == [
        "http://127.0.0.1:8000/mcp", ["mcp"], "http://127.0.0.1:8000/mcp",
    ]  # fmt: skip


@pytest.mark.anyio
async def test_every_mcp_tool_is_documented_with_all_its_arguments(services: Services) -> None:
    for tool in services.mcp.toolbox:
        names = ", ".join(f"`{name}`" for name in tool.schema()["properties"] if name != "sandbox")
        assert f"| `{tool.name}` | {names} |" in MCP
