"""Which sandbox a conversation has, who may reach it, and when it ends."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client, MCPError

from lm_sandbox.config.storage import StopSettings
from tests.conftest import KEY, Server, eventually, serving
from tests.surfaces.mcp.conftest import ERAS, TIMEOUT_S, Connect, details_of, error_of, text_of

pytestmark = pytest.mark.anyio
BASE = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}


async def sandbox_of(client: Client, **arguments: object) -> str:
    return str(details_of(await client.call_tool("bash", {"command": "true", **arguments}))["sandbox"])


async def exists(api: httpx.AsyncClient, sandbox: str) -> bool:
    return (await api.get(f"/v1/sandboxes/{sandbox}")).is_success


async def test_a_conversation_makes_no_sandbox_before_it_needs_one(
    connect: Connect, stranger: str, era: str, mcp_server: Server
) -> None:
    headers = {"Authorization": f"Bearer {stranger}"}
    async with connect(era, stranger) as client:
        await client.list_tools()
        await client.list_resource_templates()
        assert (await client.list_resources()).resources == []
        async with httpx.AsyncClient(base_url=mcp_server.url, headers=headers) as own:
            assert (await own.get("/v1/sandboxes")).json()["data"] == []
        await sandbox_of(client)


async def test_two_conversations_do_not_see_each_others_sandbox(connect: Connect, era: str) -> None:
    async with connect(era) as one, connect(era) as other:
        await one.call_tool("write_file", {"path": "secret", "content": "x"})
        assert await sandbox_of(one) == await sandbox_of(one)
        assert await sandbox_of(one) != await sandbox_of(other)
        assert text_of(await other.call_tool("list_files", {})) == "[nothing]"
        assert [found.name for found in (await one.list_resources()).resources] == ["secret"]
        assert (await other.list_resources()).resources == []


async def test_a_client_without_sessions_or_cookies_has_one_sandbox_for_its_name(connect: Connect) -> None:
    async def run(name: str) -> str:
        # Pinned to the revision, it asks for no discovery and so is told no cookie.
        async with connect("2026-07-28", name=name) as client:
            return await sandbox_of(client)

    assert await run("a") == await run("a")
    assert await run("a") != await run("b")


async def test_another_sandbox_is_worked_in_by_its_handle_or_its_name(mcp: Client, era: str) -> None:
    made = await mcp.call_tool("create_sandbox", {"name": f"other {era}"})
    other = str(details_of(made)["sandbox"])
    assert other in text_of(made)
    assert await sandbox_of(mcp) != other
    assert await sandbox_of(mcp, sandbox=other) == other
    assert await sandbox_of(mcp, sandbox=f"other {era}") == other
    await mcp.call_tool("write_file", {"path": "there", "content": "x", "sandbox": other})
    assert text_of(await mcp.call_tool("list_files", {})) == "[nothing]"
    again = await mcp.call_tool("create_sandbox", {"name": f"other {era}"})
    assert error_of(again)["code"] == "conflict"


async def test_a_pinned_sandbox_is_made_once_and_stays(
    connect: Connect, api: httpx.AsyncClient, era: str
) -> None:
    pinned = {"LM-Sandbox-Name": f"work-{era}"}
    async with connect(era, headers=pinned) as client:
        first = await sandbox_of(client)
    async with connect(era, headers=pinned) as client:
        assert await sandbox_of(client) == first
    assert (await api.get(f"/v1/sandboxes/{first}")).json()["name"] == f"work-{era}"
    refused = await api.post("/mcp", headers={**BASE, "LM-Sandbox-Name": "../x"}, json=LIST)
    assert refused.status_code == 422


async def test_a_sandbox_that_is_gone_is_replaced_and_the_model_is_told(
    mcp: Client, api: httpx.AsyncClient
) -> None:
    first = await sandbox_of(mcp)
    await api.delete(f"/v1/sandboxes/{first}")
    told = text_of(await mcp.call_tool("bash", {"command": "echo on"}))
    assert told.startswith("[This is a new sandbox")
    assert told.endswith("\non")
    assert text_of(await mcp.call_tool("bash", {"command": "echo on"})) == "on"


async def test_a_sandbox_that_died_is_replaced_too(mcp: Client, api: httpx.AsyncClient) -> None:
    first = await sandbox_of(mcp)
    uid = (await api.get(f"/v1/sandboxes/{first}")).json()["enforced"]["host_uid"]
    await anyio.run_process(["pkill", "-KILL", "-u", str(uid)])
    ended = await mcp.call_tool("bash", {"command": "echo on"})
    # What still got in while it was dying, has died with it.
    while ended.is_error or text_of(ended) == "[killed by SIGKILL]":
        assert not ended.is_error or error_of(ended)["code"] == "sandbox_failed"
        ended = await mcp.call_tool("bash", {"command": "echo on"})
    assert text_of(ended).startswith("[This is a new sandbox")
    assert await sandbox_of(mcp) != first


async def test_what_is_anothers_does_not_exist(connect: Connect, stranger: str, era: str) -> None:
    async with connect(era) as mine, connect(era, stranger) as theirs:
        await mine.call_tool("write_file", {"path": "mine", "content": "x"})
        sandbox = await sandbox_of(mine)
        [resource] = (await mine.list_resources()).resources
        for tool, arguments in (
            ("bash", {"command": "ls"}),
            ("read_file", {"path": "mine"}),
            ("write_file", {"path": "x", "content": ""}),
            ("list_files", {}),
            ("bash_output", {"command_id": "cmd_x"}),
        ):
            refused = await theirs.call_tool(tool, {**arguments, "sandbox": sandbox})
            assert error_of(refused)["code"] == "sandbox_not_found"
        with pytest.raises(MCPError, match="There is no sandbox"):
            await theirs.read_resource(resource.uri)


async def test_anothers_session_does_not_exist(api: httpx.AsyncClient, stranger: str) -> None:
    begun = await api.post("/mcp", headers=BASE, json=INITIALIZE)
    session = {**BASE, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
    assert (await api.post("/mcp", headers=session, json=LIST)).status_code == 200
    other = {**session, "Authorization": f"Bearer {stranger}"}
    for method in ("POST", "DELETE"):
        assert (await api.request(method, "/mcp", headers=other, json=LIST)).status_code == 404
    assert (await api.post("/mcp", headers=session, json=LIST)).status_code == 200
    unknown = {**session, "Mcp-Session-Id": "0" * 32}
    assert (await api.post("/mcp", headers=unknown, json=LIST)).status_code == 404


async def test_the_end_of_a_session_deletes_its_sandbox(connect: Connect, api: httpx.AsyncClient) -> None:
    async with connect("legacy") as client:
        sandbox = await sandbox_of(client)
        await client.call_tool("bash", {"command": "sleep 1000", "background": True})
        assert await exists(api, sandbox)
    assert not await exists(api, sandbox)


async def test_a_server_that_stops_ends_the_streams_of_open_sessions(tmp_path: Path) -> None:
    env = {**os.environ, "LM_SANDBOX_DATA_DIR": str(tmp_path), "LM_SANDBOX_API_KEY": KEY}
    with serving(env) as (process, server):
        headers = {**BASE, "Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=TIMEOUT_S) as client:
            begun = await client.post("/mcp", json=INITIALIZE)
            session = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
            async with client.stream("GET", "/mcp", headers=session) as stream:
                assert stream.status_code == 200
                process.send_signal(signal.SIGTERM)
                # Nothing of it is left to be waited for, as the server does for answers under way.
                with anyio.fail_after(StopSettings().grace_s), suppress(httpx.RemoteProtocolError):
                    await stream.aread()
        await eventually(lambda: process.poll() is not None, TIMEOUT_S)


@pytest.mark.parametrize("era", ERAS)
async def test_resources_are_the_files_of_the_workspace_page_by_page(connect: Connect, era: str) -> None:
    async with connect(era) as client:
        await client.call_tool("bash", {"command": "mkdir d; touch d/{001..250} 'a b'; ln -s d l"})
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await client.list_resources(cursor=cursor)
            names += [found.name for found in page.resources]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert sorted(names) == ["a b", *(f"d/{number:03}" for number in range(1, 251))]
        [template] = (await client.list_resource_templates()).resource_templates
        sandbox = await sandbox_of(client)
        uri = template.uri_template.replace("{sandbox}", sandbox).replace("{+path}", "etc/passwd")
        [passwd] = (await client.read_resource(uri)).contents
        assert "sandbox:" in passwd.model_dump()["text"]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("file:///etc/shadow", "invalid_request"),
        ("sandbox://{sandbox}/workspace/none", "file_not_found"),
        ("sandbox://{sandbox}/../../../../etc/shadow", "file_not_found"),
        ("sandbox://{sandbox}/%2e%2e/%2e%2e/etc/shadow", "file_not_found"),
        ("sandbox://{sandbox}/workspace", "file_conflict"),
        ("sandbox://{sandbox}/dev/null", "file_conflict"),
        ("sandbox://{sandbox}", "invalid_request"),
        ("sandbox://{sandbox}/a%00b", "invalid_request"),
        ("sandbox://sb_none/workspace/a", "sandbox_not_found"),
        ("sandbox://../workspace/a", "sandbox_not_found"),
        ("sandbox://[/a", "invalid_request"),
    ],
)
async def test_a_resource_that_is_none_is_an_error_with_a_code(
    connect: Connect, era: str, uri: str, code: str
) -> None:
    async with connect(era) as client:
        with pytest.raises(MCPError) as raised:
            await client.read_resource(uri.replace("{sandbox}", await sandbox_of(client)))
    assert raised.value.data["code"] == code
    assert raised.value.data["uri"].startswith(uri[:8])
