"""Commands over HTTP: in the background, streamed, fed, signalled and ended."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from tests.conftest import Server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def commands(client: httpx.AsyncClient) -> str:
    """The address of a sandbox's commands."""
    made = await client.post("/v1/sandboxes", json={})
    return f"/v1/sandboxes/{made.json()['id']}/commands"


async def start(client: httpx.AsyncClient, commands: str, command: str, **more: object) -> str:
    answer = await client.post(commands, json={"command": command, "background": True, **more})
    assert answer.status_code == 201, answer.text
    return f"{commands}/{answer.json()['id']}"


async def ended(client: httpx.AsyncClient, command: str) -> dict[str, Any]:
    answer = await client.get(command, params={"wait_s": 30})
    found: dict[str, Any] = answer.json()
    assert found["status"] != "running"
    return found


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, int | None, dict[str, Any]]]:
    name, number = "", None
    async for line in answer.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            yield name, number, json.loads(value)
            number = None


async def test_a_background_command_is_there_at_once_and_told_when_it_ends(
    client: httpx.AsyncClient, commands: str
) -> None:
    command = await start(client, commands, "cat > /dev/null; echo done; exit 4", keep_stdin_open=True)
    running = (await client.get(command)).json()
    assert (running["status"], running["exit_code"]) == ("running", None)
    assert (await client.post(f"{command}/stdin", json={"end": True})).status_code == 204
    found = await ended(client, command)
    assert (found["status"], found["exit_code"], found["stdout"]) == ("ended", 4, "done\n")


async def test_input_comes_piece_by_piece_and_output_follows(
    client: httpx.AsyncClient, commands: str
) -> None:
    command = await start(
        client, commands, "while read line; do echo got $line; done", keep_stdin_open=True, stdin="one\n"
    )
    async with client.stream("GET", f"{command}/output") as answer:
        stream = events(answer)
        assert (await anext(stream))[2]["data"] == "got one\n"
        await client.post(f"{command}/stdin", json={"data": "two\n"})
        assert (await anext(stream))[2]["data"] == "got two\n"
        data = base64.b64encode(b"three\n").decode()
        await client.post(f"{command}/stdin", json={"data": data, "encoding": "base64", "end": True})
        assert (await anext(stream))[2]["data"] == "got three\n"
        name, _, last = await anext(stream)
        assert (name, last["exit_code"]) == ("exit", 0)
    refused = await client.post(f"{command}/stdin", json={"data": "x"})
    assert refused.status_code == 409


async def test_following_goes_on_behind_any_event(client: httpx.AsyncClient, commands: str) -> None:
    command = await start(client, commands, "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.05; done")
    await ended(client, command)
    async with client.stream("GET", f"{command}/output") as answer:
        first = [event async for event in events(answer)]
    for _, number, _ in first[:-1]:
        async with client.stream("GET", f"{command}/output", params={"after": number}) as answer:
            again = [event async for event in events(answer)]
        position = [one[1] for one in first].index(number)
        assert "".join(e[2].get("data", "") for e in again) == "".join(
            e[2].get("data", "") for e in first[position + 1 :]
        )
        headers = {"Last-Event-ID": str(number)}
        async with client.stream("GET", f"{command}/output", headers=headers) as answer:
            assert [event async for event in events(answer)] == again
    texts = {
        name: "".join(e[2]["data"] for e in first if e[2].get("stream") == name)
        for name in ("stdout", "stderr")
    }
    assert texts == {"stdout": "1\n2\n3\n", "stderr": "e1\ne2\ne3\n"}


async def test_bytes_that_are_no_utf8_come_back_lossless(client: httpx.AsyncClient, commands: str) -> None:
    raw = bytes(range(256))
    body = {
        "command": "cat; cat /dev/null >&2",
        "stdin": base64.b64encode(raw).decode(),
        "encoding": "base64",
    }
    found = (await client.post(commands, json=body)).json()
    assert base64.b64decode(found["stdout"]) == raw
    command = await start(client, commands, "printf '\\xff\\x00\\xfe'; printf err >&2")
    await ended(client, command)
    assert (await client.get(f"{command}/stdout")).content == b"\xff\x00\xfe"
    assert (await client.get(f"{command}/stderr")).content == b"err"
    async with client.stream("GET", f"{command}/output", params={"encoding": "base64"}) as answer:
        data = [e[2] async for e in events(answer)]
    sent = b"".join(base64.b64decode(d["data"]) for d in data if d.get("stream") == "stdout")
    assert sent == b"\xff\x00\xfe"


async def test_a_streamed_command_tells_its_output_as_it_comes(
    client: httpx.AsyncClient, commands: str
) -> None:
    body = {
        "command": "echo first; until [ -e /workspace/go ]; do sleep 0.01; done; echo last",
        "stream": True,
    }
    async with client.stream("POST", commands, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = events(answer)
        assert (await anext(stream))[2]["data"] == "first\n"
        await client.post(commands, json={"command": "touch /workspace/go"})
        assert (await anext(stream))[2]["data"] == "last\n"
        assert (await anext(stream))[0] == "exit"


async def test_a_streamed_command_ends_when_its_client_leaves(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
        made = (await client.post("/v1/sandboxes", json={})).json()
        commands = f"/v1/sandboxes/{made['id']}/commands"
        body = {"command": "setsid sleep 4321 & echo on; wait", "stream": True}
        async with client.stream("POST", commands, json=body) as answer:
            await anext(events(answer))
        with anyio.fail_after(20):
            gone = await client.post(commands, json={"command": "while pgrep -f '[s]leep 4321'; do :; done"})
        assert gone.json()["exit_code"] == 0


async def test_a_signal_reaches_the_command_and_an_end_takes_all_with_it(
    client: httpx.AsyncClient, commands: str
) -> None:
    script = "trap 'echo caught; exit 7' INT; echo on; while :; do sleep 0.05; done"
    command = await start(client, commands, script)
    async with client.stream("GET", f"{command}/output") as answer:
        await anext(events(answer))
        assert (await client.post(f"{command}/signal", json={"signal": "SIGINT"})).status_code == 204
    found = await ended(client, command)
    assert (found["exit_code"], found["stdout"]) == (7, "on\ncaught\n")
    assert (await client.post(f"{command}/signal", json={"signal": "SIGINT"})).status_code == 409
    stubborn = await start(client, commands, "trap '' TERM HUP; setsid sleep 4322 & echo on; wait")
    async with client.stream("GET", f"{stubborn}/output") as answer:
        await anext(events(answer))
    assert (await client.delete(stubborn)).status_code == 204
    assert (await client.get(stubborn)).json()["signal"] == "SIGKILL"
    left = await client.post(commands, json={"command": "pgrep -cf '[s]leep 4322'"})
    assert left.json()["stdout"] == "0\n"


async def test_wrong_names_are_refused(client: httpx.AsyncClient, commands: str) -> None:
    command = await start(client, commands, "sleep 100")
    answer = await client.post(f"{command}/signal", json={"signal": "SIGNOTHING"})
    assert (answer.status_code, answer.json()["field"]) == (422, "signal")
    answer = await client.post(commands, json={"command": "cat", "stdin": "?", "encoding": "base64"})
    assert (answer.status_code, answer.json()["field"]) == (422, "stdin")
    assert (await client.get(f"{commands}/cmd_nothing")).json()["code"] == "command_not_found"
    assert (await client.get(f"{command}/stdnothing")).status_code == 422
    assert (await client.post(f"{command}/stdin", json={"data": "x"})).status_code == 409


async def test_commands_are_listed_in_pages(client: httpx.AsyncClient, commands: str) -> None:
    ids = [(await start(client, commands, f"echo {n}")).rsplit("/", 1)[1] for n in range(5)]
    first = (await client.get(commands, params={"limit": 3})).json()
    second = (await client.get(commands, params={"limit": 3, "after": first["next_after"]})).json()
    assert [row["id"] for row in first["data"] + second["data"]] == ids
    assert second["next_after"] is None


async def test_long_output_is_all_there_behind_the_head_and_tail(
    client: httpx.AsyncClient, commands: str
) -> None:
    command = await start(client, commands, "seq 1 1000000")
    found = await ended(client, command)
    assert found["truncated"]
    assert found["stdout_bytes"] == 6_888_896
    assert found["stdout"].startswith("1\n2\n")
    assert found["stdout"].endswith("1000000\n")
    whole = (await client.get(f"{command}/stdout")).text
    assert whole.splitlines() == [str(n) for n in range(1, 1_000_001)]


async def test_a_sandbox_is_halted_and_goes_on(client: httpx.AsyncClient, commands: str) -> None:
    sandbox = commands.removesuffix("/commands")
    assert (await client.post(f"{sandbox}/pause")).json()["state"] == "paused"
    refused = await client.post(commands, json={"command": "true"})
    assert refused.status_code == 409
    assert "paused" in refused.json()["detail"]
    assert (await client.post(f"{sandbox}/pause")).status_code == 409
    assert (await client.post(f"{sandbox}/resume")).json()["state"] == "running"
    await client.post(commands, json={"command": "echo kept > a"})
    assert (await client.post(f"{sandbox}/stop")).json()["state"] == "stopped"
    assert (await client.post(f"{sandbox}/start")).json()["state"] == "running"
    assert (await client.post(commands, json={"command": "cat a"})).json()["stdout"] == "kept\n"
    stats = (await client.get(f"{sandbox}/stats")).json()
    assert stats["pids"] >= 1
    assert stats["disk_bytes"] > 0


async def test_a_sandbox_is_renamed_and_found_by_what_it_is(client: httpx.AsyncClient) -> None:
    one = (await client.post("/v1/sandboxes", json={"name": "one", "metadata": {"a": "1", "b": "2"}})).json()
    await client.post("/v1/sandboxes", json={"name": "two", "metadata": {"a": "1"}})
    assert (await client.post("/v1/sandboxes", json={"name": "one"})).status_code == 409

    async def names(**query: object) -> list[str]:
        found = await client.get("/v1/sandboxes", params=query)  # type: ignore[arg-type]
        return [row["name"] for row in found.json()["data"]]

    assert await names(metadata="a=1") == ["one", "two"]
    assert await names(metadata=["a=1", "b=2"]) == ["one"]
    assert await names(name="two", state="running") == ["two"]
    assert await names(state="paused") == []
    assert (await client.get("/v1/sandboxes", params={"metadata": "a"})).status_code == 422
    path = f"/v1/sandboxes/{one['id']}"
    changed = await client.patch(path, json={"name": "three", "metadata": {}, "idle_timeout_s": 5})
    assert (changed.json()["name"], changed.json()["metadata"], changed.json()["idle_timeout_s"]) == (
        "three",
        {},
        5,
    )
    assert (await client.patch(path, json={"name": "two"})).status_code == 409
    too_long = await client.patch(path, json={"idle_timeout_s": 1e8})
    assert (too_long.status_code, too_long.json()["field"]) == (422, "idle_timeout_s")
