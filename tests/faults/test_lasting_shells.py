"""Shells and terminals go on when their server is killed."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import eventually
from tests.faults.successive import KEY, Servers, ended, make, run, servers
from tests.processes import pids_with
from tests.surfaces.test_terminals import SHELL, Client

__all__ = ["servers"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
NAPS = 987_601, 987_602


def shell(client: httpx.Client, sandbox: str, **body: object) -> str:
    answer = client.post(f"{sandbox}/shells", json=body)
    assert answer.status_code == 201, answer.text
    return f"{sandbox}/shells/{answer.json()['id']}"


def told(client: httpx.Client, shell: str, command: str, **more: object) -> dict[str, Any]:
    answer = client.post(f"{shell}/run", json={"command": command, **more})
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def at(servers: Servers, sandbox: str, terminal: str) -> AsyncIterator[Client]:
    url = f"ws{servers.server.url.removeprefix('http')}{sandbox}/terminals/{terminal}/ws"
    headers = {"Authorization": f"Bearer {KEY}"}
    async with connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        yield Client(socket)


def test_shells_go_on_with_all_that_they_knew(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    kept, exited, busy, working = (shell(client, sandbox, env={"HELLO": "you"}) for _ in range(4))
    told(client, kept, "cd /tmp; A=1; export B=2; f() { echo f $1; }; sleep 1000 & C=$!")
    assert told(client, exited, "cd /var; A=3; exit 4")["shell"] == "restored"
    background = told(
        client, working, "for i in $(seq 300); do echo $i; sleep 0.01; done; A=5; false", background=True
    )
    late = "(until [ -e killed ]; do sleep 0.01; done; echo late; touch said) &"
    told(client, kept, f"cd /workspace; {late} cd /tmp")

    def wait() -> None:
        with suppress(httpx.HTTPError):
            told(
                client,
                busy,
                f"cd /var; A=6; touch /workspace/begun; setsid sleep {NAPS[0]} & sleep {NAPS[1]}",
            )

    waiting = threading.Thread(target=wait)
    waiting.start()
    while run(client, sandbox, "test -e begun")["exit_code"]:
        pass
    client = servers.follow()
    waiting.join()
    listed = {one["id"]: one["cwd"] for one in client.get(f"{sandbox}/shells").json()["data"]}
    assert listed[kept.split("/")[-1]] == "/tmp"
    run(client, sandbox, "touch killed; until [ -e said ]; do sleep 0.01; done")
    found = told(client, kept, "pwd; echo $A $B $HELLO; f x; kill -0 $C && echo there")
    assert found["stdout"] == "late\n/tmp\n1 2 you\nf x\nthere\n"
    assert found["shell"] == "kept"
    assert told(client, exited, "pwd; echo $A $HELLO")["stdout"] == "/var\n3 you\n"
    # The client of what ran in it went with the server.
    assert told(client, busy, "pwd; echo $A")["stdout"] == "/var\n6\n"
    assert run(client, sandbox, f"pgrep -fx 'sleep ({NAPS[0]}|{NAPS[1]})'")["stdout"] == ""
    command = ended(client, f"{sandbox}/commands/{background['id']}")
    assert command["stdout"].split() == [str(number) for number in range(1, 301)]
    assert command["exit_code"] == 1
    assert told(client, working, "echo $A")["stdout"] == "5\n"
    client = servers.follow()
    assert told(client, kept, "pwd; echo $A; f y; exit 7")["stdout"] == "/tmp\n1\nf y\n"
    assert told(client, working, "echo $A")["stdout"] == "5\n"
    client.delete(kept).raise_for_status()
    client = servers.follow()
    assert client.get(kept).status_code == 404
    assert told(client, busy, "echo $A")["stdout"] == "6\n"


async def test_terminals_can_be_joined_again_with_their_scroll_back(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)

    def open_terminal(**body: object) -> str:
        answer = client.post(f"{sandbox}/terminals", json={**SHELL, **body})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    typed, over, alone = open_terminal(), open_terminal(command="echo gone; exit 3"), open_terminal()
    client.patch(f"{sandbox}/terminals/{typed}", json={"rows": 33, "columns": 99}).raise_for_status()
    async with at(servers, sandbox, typed) as person:
        await person.type("A=5; cd /tmp; echo mar''ker\n")
        await person.see("marker")
    async with at(servers, sandbox, alone) as person:
        await person.type("until [ -e go ]; do sleep 0.01; done; seq 300000; touch shown; exit 6\n")
        await person.see("exit 6")
    await eventually(lambda: client.get(f"{sandbox}/terminals/{over}").json()["status"] == "ended")
    run(client, sandbox, f"(sleep 0.5; touch go; exec sleep {NAPS[0]}) > /dev/null 2>&1 &")
    servers.kill()
    await eventually(lambda: bool(pids_with(f"sleep\0{NAPS[0]}")))
    client = servers.start()
    run(client, sandbox, "until [ -e shown ]; do sleep 0.01; done")
    async with at(servers, sandbox, typed) as person:
        assert (await person.hear("attached"))["columns"] == 99
        await person.see("marker")
        await person.type("echo $A$PWD; stty size; exit 4\n")
        await person.see("5/tmp")
        await person.see("33 99")
        assert (await person.hear("exit"))["exit_code"] == 4
    async with at(servers, sandbox, alone) as person:
        await person.see("bytes left out that were shown while no server was there")
        await person.see("300000")
        assert (await person.hear("exit"))["exit_code"] == 6
    async with at(servers, sandbox, over) as person:
        await person.see("gone")
        assert (await person.hear("exit"))["exit_code"] == 3
    listed = client.get(f"{sandbox}/terminals").json()["data"]
    assert [one["id"] for one in listed] == [typed, over, alone]
    assert client.delete(f"{sandbox}/terminals/{over}").status_code == 204
