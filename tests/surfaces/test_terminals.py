"""Terminals over a real server's WebSockets."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.conftest import Server, eventually
from tests.faults.conftest import MIB, memory_bytes

pytestmark = pytest.mark.anyio

LIMIT_S = 30
SHELL = {"command": ["/bin/bash", "--norc", "--noprofile"], "env": {"PS1": "> "}}
VIEWS = "?view=true"


@dataclass
class Client:
    """Somebody at a terminal."""

    socket: ClientConnection
    seen: bytes = b""
    told: list[dict[str, Any]] = field(default_factory=list)

    async def type(self, text: str) -> None:
        await self.socket.send(text.encode())

    async def say(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def take(self) -> None:
        """Takes one message."""
        message = await self.socket.recv()
        if isinstance(message, str):
            self.told.append(json.loads(message))
        else:
            self.seen += message

    async def see(self, pattern: str) -> re.Match[bytes]:
        """Waits until it is on the screen; what was seen is not looked at again."""
        with anyio.move_on_after(LIMIT_S):
            while re.search(pattern.encode(), self.seen) is None:
                await self.take()
        found = re.search(pattern.encode(), self.seen)
        assert found, (self.seen, self.told)
        self.seen = self.seen[found.end() :]
        return found

    async def hear(self, kind: str) -> dict[str, Any]:
        """Waits until a message of this type has come."""
        with anyio.move_on_after(LIMIT_S):
            while not any(message["type"] == kind for message in self.told):
                await self.take()
        found = [message for message in self.told if message["type"] == kind]
        assert found, (self.seen, self.told)
        self.told.remove(found[0])
        return found[0]

    async def to_the_end(self) -> ConnectionClosed:
        with anyio.fail_after(LIMIT_S):
            while True:
                try:
                    await self.take()
                except ConnectionClosed as closed:
                    return closed


@dataclass
class Box:
    """A sandbox on a real server."""

    server: Server
    http: httpx.AsyncClient
    path: str

    async def open(self, **body: object) -> str:
        made = await self.http.post(f"{self.path}/terminals", json={**SHELL, **body})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def url(self, terminal: str, query: str = "") -> str:
        return f"ws{self.server.url.removeprefix('http')}{self.path}/terminals/{terminal}/ws{query}"

    @asynccontextmanager
    async def at(self, terminal: str, query: str = "") -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {self.server.key}"}
        opening = connect(self.url(terminal, query), additional_headers=headers, proxy=None, compression=None)
        async with opening as socket:
            yield Client(socket)

    async def run(self, command: str) -> str:
        answer = await self.http.post(f"{self.path}/commands", json={"command": command})
        return str(answer.json()["stdout"])


@pytest.fixture
async def box(server: Server) -> AsyncIterator[Box]:
    headers = {"x-api-key": server.key}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        made = (await http.post("/v1/sandboxes", json={"env": {"OWN": "yes"}})).json()
        yield Box(server, http, f"/v1/sandboxes/{made['id']}")


async def test_a_session_from_the_first_key_to_the_exit_code(box: Box) -> None:
    terminal = await box.open(rows=50, columns=132)
    async with box.at(terminal) as client:
        hello = await client.hear("attached")
        assert hello == {"type": "attached", "id": terminal, "rows": 50, "columns": 132, "view": False}
        assert await client.hear("replay") == {"type": "replay", "rows": 50, "columns": 132}
        await client.type("stty size; echo $OWN $TERM; ls /proc/self/fd\n")
        await client.see("50 132\r\nyes xterm-256color\r\n0  1  2  3\r\n")
        await client.say(type="resize", rows=33, columns=99)
        assert await client.hear("resized") == {"type": "resized", "rows": 33, "columns": 99}
        await client.type("stty size\n")
        await client.see("33 99\r\n")
        await client.type("exit 3\n")
        closed = await client.to_the_end()
        assert await client.hear("exit") == {"type": "exit", "exit_code": 3, "signal": None, "limits": []}
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1000
    shown = (await box.http.get(f"{box.path}/terminals/{terminal}")).json()
    assert (shown["status"], shown["exit_code"], shown["rows"]) == ("ended", 3, 33)


async def test_ctrl_c_ctrl_z_and_job_control_work(box: Box) -> None:
    in_foreground = "until p=$(pgrep sleep) && [ $(ps -o tpgid= -p $p) = $p ]; do :; done"
    async with box.at(await box.open()) as client:
        await client.type("set -m; sleep 1000\n")
        await box.run(in_foreground)
        await client.type("\x1a")
        await client.see("Stopped +sleep 1000")
        await client.type("bg; fg\n")
        await client.see(r"\[1\]\+ sleep 1000 &")
        await box.run(in_foreground)
        await client.type("\x03")
        await client.see(r"\^C")
        await client.type("sleep 999\n")
        await box.run(in_foreground)
        await client.say(type="signal", signal="INT")
        await client.type("echo was $?\n")
        await client.see("was 130\r")


@pytest.mark.parametrize(
    ("program", "drawn", "leave"),
    [("vim -u NONE -i NONE /workspace/a", r"\x1b\[\?1049h[\s\S]*~", ":q!\r"), ("top", "load average", "q")],
)
async def test_programs_that_draw_work(box: Box, program: str, drawn: str, leave: str) -> None:
    async with box.at(await box.open()) as client:
        await client.type(f"{program}; echo left with $?\n")
        await client.see(drawn)
        await client.say(type="resize", rows=12, columns=40)
        await client.hear("resized")
        await client.see(r"\x1b\[")
        await client.type(leave)
        await client.see("left with 0\r")


async def test_who_comes_back_finds_what_was_shown_and_the_program_still_there(box: Box) -> None:
    terminal = await box.open()
    async with box.at(terminal) as client:
        await client.type("name=kept; echo be''fore\n")
        await client.see("before")
        await client.type("(sleep 0.3; echo mean''while) &\n")
    await box.run("until ! pgrep sleep; do :; done")
    async with box.at(terminal) as client:
        await client.hear("replay")
        await client.see(r"before\r\n[\s\S]*meanwhile")
        await client.type("echo $name\n")
        await client.see(r"[\r\n]kept\r")


async def test_several_see_the_same_and_one_that_views_types_nothing(box: Box) -> None:
    terminal = await box.open()
    async with box.at(terminal) as one, box.at(terminal) as two, box.at(terminal, VIEWS) as viewer:
        assert (await viewer.hear("attached"))["view"] is True
        await one.type("echo from o''ne\n")
        await two.see("from one")
        await two.type("echo from t''wo\n")
        await one.see("from two")
        await viewer.see(r"from one\r\n[\s\S]*from two")
        await viewer.type("echo from vie''wer\n")
        assert (await viewer.hear("error"))["code"] == "forbidden"
        await viewer.say(type="resize", rows=5, columns=5)
        assert (await viewer.hear("error"))["code"] == "forbidden"
        await two.say(type="resize", rows=40, columns=100)
        for client in (one, viewer):
            assert (await client.hear("resized"))["columns"] == 100
        shown = (await box.http.get(f"{box.path}/terminals/{terminal}")).json()
        assert (shown["viewers"], shown["rows"], shown["status"]) == (3, 40, "open")
        await one.type("echo do''ne\n")
        await one.see("done")
        assert b"from viewer" not in one.seen


async def test_much_output_and_a_slow_viewer_need_no_memory(box: Box) -> None:
    terminal = await box.open()
    async with box.at(terminal) as slow, box.at(terminal) as client:
        await slow.hear("replay")
        before = memory_bytes(box.server.pid)
        await client.type("yes 0123456789012345678901234567890123456789 | head -c 100M; echo the e''nd\n")
        most = 0
        with anyio.fail_after(90):
            while b"the end" not in client.seen:
                await client.take()
                client.seen = client.seen[-100:]
                most = max(most, memory_bytes(box.server.pid))
        assert most - before < 24 * MIB
        # The slow one is told, and gets the last of it.
        await slow.hear("replay")
        await slow.see("the end")
        await slow.type("echo still he''re\n")
        await slow.see("still here")
        await client.see("still here")


async def test_closing_ends_all_that_was_started(box: Box) -> None:
    terminal = await box.open()
    async with box.at(terminal) as client:
        await client.type("setsid nohup sleep 987 >/dev/null 2>&1 & setsid bash -c 'sleep 987' & echo o''n\n")
        await client.see("on\r")
        await box.run("until [ $(pgrep -c sleep) = 2 ]; do :; done")
        assert (await box.http.delete(f"{box.path}/terminals/{terminal}")).status_code == 204
        closed = await client.to_the_end()
        assert (await client.hear("exit"))["signal"] == "SIGKILL"
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1000
    assert await box.run("pgrep -c sleep") == "0\n"
    assert (await box.http.get(f"{box.path}/terminals/{terminal}")).json()["code"] == "terminal_not_found"
    assert (await box.http.delete(f"{box.path}/terminals/{terminal}")).status_code == 404


async def test_a_deleted_sandbox_ends_its_terminals(box: Box) -> None:
    async with box.at(await box.open()) as client:
        await client.see("> ")
        await box.http.delete(box.path)
        closed = await client.to_the_end()
        assert (await client.hear("error"))["code"] == "sandbox_failed"
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1011


async def test_terminals_are_listed_in_pages(box: Box) -> None:
    made = [await box.open() for _ in range(3)]
    first = (await box.http.get(f"{box.path}/terminals", params={"limit": 2})).json()
    assert [one["id"] for one in first["data"]] == made[:2]
    rest = (await box.http.get(f"{box.path}/terminals", params={"after": first["next_after"]})).json()
    assert [one["id"] for one in rest["data"]] == made[2:]
    assert rest["next_after"] is None
    resized = await box.http.patch(f"{box.path}/terminals/{made[0]}", json={"rows": 9, "columns": 8})
    assert (resized.json()["rows"], resized.json()["columns"]) == (9, 8)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rows": 0}, "rows"), ({"columns": 100_000}, "columns"), ({"rows": "many"}, "rows"), ({"cwd": "here"}, "cwd"),
        ({"env": {"A B": "c"}}, "env"), ({"command": []}, "command"), ({"command": ""}, "command"), ({"cols": 80}, "cols"),
        ({"command": "x" * 200_000}, "command"),
    ],
)  # fmt: skip
async def test_what_cannot_be_opened_is_told_with_the_field(
    client: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    answer = await client.post(f"/v1/sandboxes/{made['id']}/terminals", json=body)
    assert answer.status_code in {413, 422}
    assert answer.json()["field"].startswith(field)


async def test_what_cannot_be_understood_is_told_and_the_session_goes_on(box: Box) -> None:
    async with box.at(await box.open()) as client:
        for text, wrong in (
            ("hello", None), ("[]", "type"), ("{}", "type"), ('{"type": "dance"}', "type"), ('{"type": "resize"}', "rows"),
            ('{"type": "resize", "rows": 0, "columns": 5}', "rows"), ('{"type": "resize", "rows": 5, "columns": 1e9}', "columns"),
            ('{"type": "signal", "signal": "SIGNOTHING"}', "signal"), ('{"type": "signal", "signal": 9}', "signal"),
            ('{"type": "resize", "rows": 5, "columns": 5, "pixels": 5}', "pixels"),
        ):  # fmt: skip
            await client.socket.send(text)
            error = await client.hear("error")
            assert (error["code"], error["field"]) == ("invalid_request", wrong), text
        await client.type("echo still he''re\n")
        await client.see("still here")


async def refusal(url: str, origin: str | None = None, **more: object) -> tuple[int, dict[str, Any]]:
    """Tries to open a WebSocket that must not open."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin=origin, proxy=None, **more)  # type: ignore[arg-type]
    response = refused.value.response
    return response.status_code, json.loads(response.body or b"{}")


async def test_nobody_gets_in_without_the_owners_key(box: Box) -> None:
    url = box.url(await box.open())
    for headers, offered in (
        ({}, None), ({"Authorization": "Bearer wrong"}, None), ({"Cookie": f"key={box.server.key}"}, None),
        ({}, ["lm-sandbox.terminal"]), ({}, ["bearer.wrong"]), ({}, ["bearer."]), ({}, ["bearer.~"]),
    ):  # fmt: skip
        status, problem = await refusal(url, additional_headers=headers, subprotocols=offered)
        assert (status, problem["code"]) == (401, "unauthenticated")
    status, _ = await refusal(
        f"{url}?token={box.server.key}&key={box.server.key}&authorization={box.server.key}"
    )
    assert status == 401


async def test_a_strangers_key_finds_nothing(client: httpx.AsyncClient, services: Services) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    path = f"/v1/sandboxes/{made['id']}/terminals"
    terminal = (await client.post(path, json={})).json()["id"]
    other = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    stranger = {"Authorization": f"Bearer {other.token}"}
    size = {"rows": 5, "columns": 5}
    for answer in (
        await client.post(path, json={}, headers=stranger),
        await client.get(path, headers=stranger),
        await client.get(f"{path}/{terminal}", headers=stranger),
        await client.patch(f"{path}/{terminal}", json=size, headers=stranger),
        await client.delete(f"{path}/{terminal}", headers=stranger),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "sandbox_not_found")
    assert (await client.get(f"{path}/{terminal}")).json()["status"] == "open"


async def test_a_browsers_page_shows_its_key_as_a_subprotocol(box: Box) -> None:
    bearer = "bearer." + base64.urlsafe_b64encode(box.server.key.encode()).decode().rstrip("=")
    offered: Any = ["lm-sandbox.terminal", bearer]
    url, own = box.url(await box.open()), box.server.url
    async with connect(url, subprotocols=offered, origin=own, proxy=None) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "lm-sandbox.terminal"
        await Client(socket).hear("attached")
    for origin in (
        "http://evil.test",
        "https://evil.test:8000",
        "null",
        "http://127.0.0.1.evil.test",
        "file://",
        f"{own}0",
    ):
        status, problem = await refusal(url, origin, subprotocols=offered)
        assert (status, problem["code"]) == (403, "forbidden"), origin


async def test_bad_addresses_are_told(box: Box) -> None:
    headers = {"Authorization": f"Bearer {box.server.key}"}
    terminal = await box.open()
    for url, status, code in (
        (box.url("term_none"), 404, "terminal_not_found"),
        (box.url(terminal).replace("sb_", "sb_x"), 404, "sandbox_not_found"),
        (box.url(terminal, "?view=perhaps"), 422, "invalid_request"),
    ):
        assert (await refusal(url, additional_headers=headers))[0] == status
        assert (await refusal(url, additional_headers=headers))[1]["code"] == code


async def test_a_paused_sandbox_opens_none_and_shows_those_that_are_open(box: Box) -> None:
    terminal = await box.open()
    async with box.at(terminal) as client:
        await client.see("> ")
        await box.http.post(f"{box.path}/pause")
        for answer in (
            await box.http.post(f"{box.path}/terminals", json={}),
            await box.http.delete(f"{box.path}/terminals/{terminal}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        async with box.at(terminal, VIEWS) as viewer:
            await viewer.see("> ")
        await client.type("echo la''ter\n")
        await box.http.post(f"{box.path}/resume")
        await client.see("later")
        await box.http.post(f"{box.path}/stop")
        assert (await client.hear("exit"))["signal"] == "SIGKILL"


async def test_sessions_leave_no_descriptor(box: Box) -> None:
    async def session() -> None:
        terminal = await box.open()
        async with box.at(terminal) as client:
            await client.see("> ")
        await box.http.delete(f"{box.path}/terminals/{terminal}")

    def descriptors() -> int:
        return len(list(Path(f"/proc/{box.server.pid}/fd").iterdir()))

    await session()
    before = descriptors()
    for _ in range(20):
        await session()
    await eventually(lambda: descriptors() <= before)
