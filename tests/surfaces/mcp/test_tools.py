"""Every tool, by the official client against a real server and real sandboxes, in both eras."""

import base64
import re

import anyio
import httpx
import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, CallToolResult

from tests.surfaces.mcp.conftest import Connect, details_of, error_of, text_of

pytestmark = pytest.mark.anyio
NOT_TEXT = bytes(range(256)) * 3
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def call(client: Client, tool: str, **arguments: object) -> CallToolResult:
    return await client.call_tool(tool, arguments)


async def test_the_tools_are_there_with_schemas_that_refuse_what_is_unknown(mcp: Client) -> None:
    tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
    assert tools.keys() == {
        "bash", "bash_output", "bash_stop", "read_file", "write_file", "edit_file", "list_files", "create_sandbox",
    }  # fmt: skip
    assert tools["bash"].input_schema["required"] == ["command"]
    for tool in tools.values():
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description
        # A small model has a small context.
        assert len(tool.model_dump_json(exclude_none=True)) < 1700


async def test_a_command_tells_its_output_and_how_it_ended(mcp: Client) -> None:
    ran = await call(mcp, "bash", command="echo out; pwd; id -un; exit 3")
    assert text_of(ran) == "[exit code 3]\nout\n/workspace\nsandbox"
    assert text_of(await call(mcp, "bash", command="echo err >&2")) == "err"
    details = details_of(ran)
    assert (details["exit_code"], details["running"], details["timed_out"]) == (3, False, False)
    assert text_of(await call(mcp, "bash", command="true")) == "[no output]"
    assert text_of(await call(mcp, "bash", command="pwd", cwd="/tmp")) == "/tmp"
    killed = await call(mcp, "bash", command="sleep 100", timeout_s=0.2)
    assert text_of(killed) == "[timed out after 0.2 s]"
    assert details_of(killed)["timed_out"] is True


async def test_files_are_those_of_the_commands(mcp: Client) -> None:
    made = await call(mcp, "write_file", path="a/b.txt", content="one\ntwo ä\nthree\n")
    assert text_of(made) == "[made /workspace/a/b.txt, 17 bytes]"
    assert text_of(await call(mcp, "bash", command="cat a/b.txt")) == "one\ntwo ä\nthree"
    edited = await call(mcp, "edit_file", path="/workspace/a/b.txt", old_string="two ä", new_string="2")
    assert text_of(edited) == "[replaced once in /workspace/a/b.txt]"
    assert text_of(await call(mcp, "read_file", path="a/b.txt")) == "one\n2\nthree\n"
    part = await call(mcp, "read_file", path="a/b.txt", start_line=2, max_lines=1)
    assert text_of(part) == "2\n\n[... the file of 12 bytes goes on with line 3 ...]"
    assert text_of(await call(mcp, "list_files")) == "a/"
    assert text_of(await call(mcp, "list_files", glob="**/*.txt")) == "a/b.txt  12 bytes"
    assert text_of(await call(mcp, "list_files", path="/workspace/a")) == "b.txt  12 bytes"


async def test_a_list_goes_on_where_it_has_ended(mcp: Client) -> None:
    await call(mcp, "bash", command="touch 'a b' c $'\\xff' && mkdir d && ln -s c e")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        lines = text_of(await call(mcp, "list_files", limit=2, after=after)).splitlines()
        found = re.fullmatch(r"\[there are more; go on with after (.*)\]", lines[-1])
        after = found[1] if found else None
        seen += lines[:-1] if found else lines
    assert sorted(seen) == ["a b  0 bytes", "c  0 bytes", "d/", "e -> c", "\ufffd  0 bytes"]


async def test_bytes_that_are_no_text_come_and_go_as_they_are(mcp: Client) -> None:
    coded = base64.b64encode(NOT_TEXT).decode()
    await call(mcp, "write_file", path="raw", content=coded, encoding="base64")
    told = text_of(await call(mcp, "read_file", path="raw"))
    uri = re.search(r"sandbox://\S+", told)
    assert uri is not None
    assert "768 bytes" in told
    [content] = (await mcp.read_resource(uri[0])).contents
    assert content.model_dump()["blob"] == coded
    shown = text_of(await call(mcp, "bash", command="head -c 300 raw; printf '\\xed\\xa0\\x80'"))
    assert "\ufffd" in shown
    assert "ABC" in shown


async def test_a_picture_is_shown_as_one(mcp: Client) -> None:
    await call(mcp, "write_file", path="a.png", content=base64.b64encode(PNG).decode(), encoding="base64")
    shown = await call(mcp, "read_file", path="a.png")
    text, image = shown.content
    assert text.model_dump()["text"] == f"[image/png of {len(PNG)} bytes]"
    assert image.type == "image"
    assert (image.mime_type, base64.b64decode(image.data)) == ("image/png", PNG)


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "field"),
    [
        ("bash", {}, "invalid_request", "command"),
        ("bash", {"command": ""}, "invalid_request", "command"),
        ("bash", {"command": "a\0b"}, "invalid_request", "command"),
        ("bash", {"command": 1}, "invalid_request", "command"),
        ("bash", {"command": "ls", "timeout": 3}, "invalid_request", "timeout"),
        ("bash", {"command": "ls", "timeout_s": -1}, "invalid_request", "timeout_s"),
        ("bash", {"command": "ls", "timeout_s": 1e9}, "invalid_request", "timeout_s"),
        ("bash", {"command": "ls", "wait_s": 1000}, "invalid_request", "wait_s"),
        ("bash", {"command": "ls", "sandbox": "sb_none"}, "sandbox_not_found", None),
        ("bash", {"command": "ls", "sandbox": "no such name"}, "sandbox_not_found", None),
        ("bash", {"command": "x" * 200_000}, "too_large", "command"),
        ("bash_output", {"command_id": "cmd_none"}, "command_not_found", None),
        ("bash_stop", {"command_id": "cmd_none"}, "command_not_found", None),
        ("read_file", {"path": "none"}, "file_not_found", None),
        ("read_file", {"path": "/workspace"}, "file_conflict", None),
        ("read_file", {"path": "/root/x"}, "file_not_found", None),
        ("read_file", {"path": "a\0"}, "invalid_request", "path"),
        ("read_file", {"path": "a", "start_line": 0}, "invalid_request", "start_line"),
        ("write_file", {"path": "/usr/x", "content": ""}, "file_refused", None),
        ("write_file", {"path": "x", "content": "?", "encoding": "base64"}, "invalid_request", "content"),
        ("write_file", {"path": "x", "content": "", "encoding": "hex"}, "invalid_request", "encoding"),
        ("edit_file", {"path": "none", "old_string": "a", "new_string": "b"}, "file_not_found", None),
        ("edit_file", {"path": "/etc/passwd", "old_string": "no such", "new_string": "b"}, "edit_mismatch", None),
        ("edit_file", {"path": "a", "old_string": "", "new_string": "b"}, "invalid_request", "old_string"),
        ("list_files", {"path": "none"}, "file_not_found", None),
        ("list_files", {"limit": 0}, "invalid_request", "limit"),
        ("create_sandbox", {"name": "/"}, "invalid_request", "name"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_told_to_the_model(
    connect: Connect, tool: str, arguments: dict[str, object], code: str, field: str | None
) -> None:
    async with connect() as client:
        await client.call_tool("bash", {"command": "true"})
        failed = await client.call_tool(tool, arguments)
    error = error_of(failed)
    assert (error["code"], error.get("field")) == (code, field)
    assert text_of(failed).startswith(f"{code}: ")
    assert "/var/" not in text_of(failed)


async def test_an_unknown_tool_is_an_error_of_the_protocol(mcp: Client) -> None:
    with pytest.raises(MCPError, match="Unknown tool: rm") as raised:
        await call(mcp, "rm")
    assert raised.value.code == INVALID_PARAMS


async def test_huge_output_is_cut_in_the_middle_and_the_rest_is_to_be_had(mcp: Client) -> None:
    ran = await call(mcp, "bash", command="seq 200000")
    shown = text_of(ran)
    assert len(shown) < 17_000
    head, tail = shown.split("\n[... ")
    assert head.startswith("1\n2\n3\n")
    assert tail.endswith("\n200000")
    found = re.search(
        r"(\d+) bytes left out; bash_output with command_id (\S+) and offset (\d+) shows", shown
    )
    assert found is not None
    left, command, offset = int(found[1]), found[2], int(found[3])
    assert left == details_of(ran)["output_bytes"] - 16_000  # type: ignore[operator]
    expected = "".join(f"{number}\n" for number in range(1, 200_001))
    output = ""
    for _ in range(3):
        part = text_of(await call(mcp, "bash_output", command_id=command, offset=offset + len(output)))
        status, _, rest = part.partition("\n")
        output += rest[: rest.rindex("\n[")]
        assert status == f"[ended; next offset {offset + len(output)}]"
    assert output == expected[offset : offset + 48_000]


async def test_a_large_file_is_shown_by_lines_and_one_long_line_is_cut(mcp: Client) -> None:
    await call(mcp, "bash", command="seq 100000 > many; head -c 100000 /dev/zero | tr '\\0' x > long")
    shown = text_of(await call(mcp, "read_file", path="many"))
    found = re.search(r"goes on with line (\d+) \.\.\.\]$", shown)
    assert found is not None
    more = text_of(await call(mcp, "read_file", path="many", start_line=int(found[1])))
    assert more.startswith(found[1] + "\n")
    end = text_of(await call(mcp, "read_file", path="many", start_line=99_999))
    assert end == "99999\n100000\n"
    long = text_of(await call(mcp, "read_file", path="long"))
    assert long.startswith("x" * 16_000 + "\n[... line 1 goes on")


async def test_a_command_in_the_background_is_followed_and_stopped(mcp: Client) -> None:
    begun = await call(mcp, "bash", command="echo ä; sleep 1000; echo never", background=True)
    command = str(details_of(begun)["command"])
    assert command in text_of(begun)
    with anyio.fail_after(20):
        while "ä" not in (seen := text_of(await call(mcp, "bash_output", command_id=command))):
            continue
    assert "still running" in seen
    stopped = await call(mcp, "bash_stop", command_id=command)
    assert "killed by SIGKILL" in text_of(stopped) or "exit code" in text_of(stopped)
    after = await call(mcp, "bash_output", command_id=command, offset=0, wait_s=30)
    assert details_of(after)["running"] is False
    assert "never" not in text_of(after)


async def test_a_command_that_takes_long_goes_on_by_itself(mcp: Client) -> None:
    script = "echo first; until [ -e go ]; do sleep 0.02; done; echo second"
    begun = await call(mcp, "bash", command=script, wait_s=0.3)
    details = details_of(begun)
    assert details["running"] is True
    assert re.match(r"\[still running as cmd_\w+; bash_output with offset 6 shows what comes", text_of(begun))
    await call(mcp, "write_file", path="go", content="")
    ended = await call(mcp, "bash_output", command_id=details["command"], offset=6, wait_s=30)
    assert text_of(ended) == "[ended; next offset 13]\nsecond\n"


async def test_progress_tells_the_output_while_the_command_runs(mcp: Client, api: httpx.AsyncClient) -> None:
    sandbox = details_of(await call(mcp, "bash", command="true"))["sandbox"]
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        told.append((progress, message))
        if "first" in (message or ""):
            await api.put(f"/v1/sandboxes/{sandbox}/files/workspace/go", content=b"")

    # It ends only when the first line has come here as progress.
    script = "echo first; until [ -e go ]; do sleep 0.02; done; echo second"
    ran = await mcp.call_tool("bash", {"command": script}, progress_callback=hear)
    assert text_of(ran) == "first\nsecond"
    assert "".join(message or "" for _, message in told).startswith("first\n")
    assert [value for value, _ in told] == sorted({value for value, _ in told})


async def test_output_that_is_too_fast_is_not_told_whole(mcp: Client) -> None:
    sizes: list[int] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        sizes.append(len(message or ""))

    ran = await mcp.call_tool("bash", {"command": "seq 3000000"}, progress_callback=hear)
    assert details_of(ran)["output_bytes"] == 22_888_896
    assert max(sizes) <= 70_000
    assert sum(sizes) < 5_000_000


async def test_cancelling_a_call_ends_the_command_with_all_that_it_started(
    mcp: Client, api: httpx.AsyncClient
) -> None:
    sandbox = details_of(await call(mcp, "bash", command="true"))["sandbox"]
    up = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        if "up" in (message or ""):
            up.set()

    async def run() -> None:
        script = "setsid sleep 4321 & echo up; sleep 4321"
        await mcp.call_tool("bash", {"command": script}, progress_callback=hear)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await up.wait()
        assert await sleeping(api, sandbox) == 2
        tasks.cancel_scope.cancel()
    with anyio.fail_after(20):
        while await sleeping(api, sandbox):
            continue
    commands = (await api.get(f"/v1/sandboxes/{sandbox}/commands")).json()["data"]
    assert all(command["status"] != "running" for command in commands)


async def sleeping(api: httpx.AsyncClient, sandbox: object) -> int:
    body = {"command": ["pgrep", "-c", "-f", "^sleep 4321"]}
    return int((await api.post(f"/v1/sandboxes/{sandbox}/commands", json=body)).json()["stdout"])
