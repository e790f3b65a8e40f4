"""`lm-sandbox mcp`: the official client starts it as hosts do, and so do raw lines on its pipe."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.conftest import NOWHERE, Server, eventually, lm_sandbox, serving
from tests.surfaces.mcp.conftest import ERAS, details_of, error_of, text_of

pytestmark = pytest.mark.anyio
END_S = 30


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "LM_SANDBOX_DATA_DIR": str(tmp_path_factory.mktemp("stdio") / "data"),
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": NOWHERE,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": NOWHERE,
    }


@pytest.fixture(params=ERAS)
async def stdio(
    request: pytest.FixtureRequest, data: dict[str, str], tmp_path: Path
) -> AsyncIterator[Client]:
    """The official client with a program of its own, and no server about."""
    parameters = StdioServerParameters(command=lm_sandbox(), args=["mcp"], env=data)
    with (tmp_path / "stderr").open("w") as errors:
        async with Client(stdio_client(parameters, errors), mode=request.param) as client:
            yield client
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_without_a_server_it_brings_the_same_tools_and_resources(stdio: Client) -> None:
    assert len((await stdio.list_tools()).tools) == 8
    await stdio.call_tool("write_file", {"path": "a", "content": "ä\u2028b"})
    assert text_of(await stdio.call_tool("bash", {"command": "cat a; exit 3"})) == "[exit code 3]\nä\u2028b"
    assert error_of(await stdio.call_tool("read_file", {"path": "none"}))["code"] == "file_not_found"
    [resource] = (await stdio.list_resources()).resources
    [content] = (await stdio.read_resource(resource.uri)).contents
    assert content.model_dump()["text"] == "ä\u2028b"


async def test_progress_comes_and_cancelling_ends_the_command(stdio: Client) -> None:
    up = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        if "up" in (message or ""):
            up.set()

    async def run() -> None:
        await stdio.call_tool("bash", {"command": "echo up; sleep 4321"}, progress_callback=hear)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await up.wait()
        tasks.cancel_scope.cancel()
    left = ""
    with anyio.move_on_after(END_S):
        while left != "[exit code 1]\n0":
            left = text_of(await stdio.call_tool("bash", {"command": "pgrep -c sleep"}))
    assert left == "[exit code 1]\n0"


@pytest.mark.parametrize("era", ERAS)
async def test_with_a_server_it_works_there_and_leaves_nothing(data: dict[str, str], era: str) -> None:
    with serving({**data, "LM_SANDBOX_DATA_DIR": data["LM_SANDBOX_DATA_DIR"] + "-served"}) as (_, server):
        headers = {"Authorization": f"Bearer {key_of(server)}"}
        own = {**data, "LM_SANDBOX_DATA_DIR": str(server.data_dir)}
        elsewhere = {**data, "LM_SANDBOX_API_KEY": key_of(server)}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as api:
            for env, more in ((own, []), (elsewhere, ["--url", server.url])):
                parameters = StdioServerParameters(command=lm_sandbox(), args=["mcp", *more], env=env)
                async with Client(parameters, mode=era) as client:
                    ran = await client.call_tool("bash", {"command": "sleep 1000", "background": True})
                    sandbox = details_of(ran)["sandbox"]
                    assert (await api.get(f"/v1/sandboxes/{sandbox}")).status_code == 200
                assert (await api.get(f"/v1/sandboxes/{sandbox}")).status_code == 410
            parameters = StdioServerParameters(
                command=lm_sandbox(), args=["mcp", "--sandbox", "kept"], env=own
            )
            async with Client(parameters, mode=era) as client:
                await client.call_tool("write_file", {"path": "a", "content": "x"})
            async with Client(parameters, mode=era) as client:
                assert text_of(await client.call_tool("list_files", {})) == "a  1 bytes"


def key_of(server: Server) -> str:
    return (server.data_dir / "api-key").read_text().strip()


@contextmanager
def piped(env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([lm_sandbox(), "mcp", *arguments], env=env, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=END_S)


def say(process: subprocess.Popen[bytes], *lines: object) -> None:
    assert process.stdin is not None
    for line in lines:
        process.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    process.stdin.flush()


def request(number: object, method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


HELLO = request(
    0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "raw", "version": "1"}
)
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_every_line_on_its_output_is_a_message_whatever_comes_in(data: dict[str, str]) -> None:
    bash = request("x", "tools/call", name="bash", arguments={"command": "echo hi"})
    with piped(data) as process:
        say(process, HELLO, READY, b"", b"{not json", b"[]", request(1, "no/such"), bash)
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline()) for _ in range(5)]
        assert all(one["jsonrpc"] == "2.0" for one in found)
        answers = {one["id"]: one for one in found}
        assert answers[0]["result"]["protocolVersion"] == "2025-06-18"
        assert answers[1]["error"]["code"] == -32601
        assert answers["x"]["result"]["content"][0]["text"] == "hi"
        assert next(one["error"]["code"] for one in found if one["id"] is None) == -32700
        output, _ = process.communicate(timeout=END_S)
        assert output == b""
        assert process.returncode == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_ends_everything_that_runs(data: dict[str, str], stop: signal.Signals) -> None:
    marker = f"{os.getpid()}{stop.value}77"
    background = {"command": f"sleep {marker}", "background": True}
    with piped(data) as process:
        say(process, HELLO, READY, request(1, "tools/call", name="bash", arguments=background))
        assert process.stdout is not None
        process.stdout.readline()
        assert "running in the background" in process.stdout.readline().decode()
        process.send_signal(stop)
        await eventually(lambda: process.poll() is not None, END_S)
    await eventually(
        lambda: subprocess.run(["pgrep", "-f", marker], check=False, capture_output=True).returncode
    )


def test_a_wrong_key_and_a_server_that_is_not_there_are_told_as_errors(data: dict[str, str]) -> None:
    env = {**data, "LM_SANDBOX_API_KEY": "wrong-key-that-is-long-enough"}
    with piped(env, "--url", NOWHERE) as process:
        say(process, HELLO)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["id"] == 0
        assert "does not answer" in told["error"]["message"]
    with serving({**data, "LM_SANDBOX_DATA_DIR": data["LM_SANDBOX_DATA_DIR"] + "-keyed"}) as (_, server):
        with piped(env, "--url", server.url) as process:
            say(process, HELLO)
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
    assert told["id"] == 0
    assert told["error"]["data"]["code"] == "unauthenticated"
