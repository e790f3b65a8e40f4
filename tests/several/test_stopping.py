"""Servers that are told to stop, one of several and one alone, under load and with commands at work."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.sandboxes.egress import EgressPolicy
from lm_sandbox.sandboxes.sandbox import Lifetime, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxRecord, SandboxStore
from lm_sandbox.storage.database import Database, backend_of
from lm_sandbox.storage.servers import SERVERS, serving_urls
from lm_sandbox.storage.serving_process import server_of
from tests.conftest import eventually, serving
from tests.several.processes import KEY, told

COUNTING = "for i in $(seq 1 200); do echo $i; sleep 0.01; done; exit 5"


def client_of(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)


def make(http: httpx.Client) -> str:
    return f"/v1/sandboxes/{told(http.post('/v1/sandboxes', json={}))['id']}"


def start(http: httpx.Client, box: str, command: str = COUNTING) -> str:
    body = {"command": command, "background": True}
    return f"{box}/commands/{told(http.post(f'{box}/commands', json=body))['id']}"


def assert_counted(http: httpx.Client, command: str) -> None:
    found = told(http.get(command, params={"wait_s": 60}))
    assert (found["status"], found["exit_code"]) == ("ended", 5)
    assert found["stdout"].split() == [str(number) for number in range(1, 201)]


@pytest.fixture
def env(command_env: dict[str, str]) -> dict[str, str]:
    return {**command_env, "LM_SANDBOX_API_KEY": KEY}


def test_a_stop_lets_requests_end_and_keeps_what_the_next_server_is_to_have(env: dict[str, str]) -> None:
    kept = {**env, "LM_SANDBOX_STOP__KEEP_SANDBOXES": "true"}
    answers: list[httpx.Response] = []
    with serving(kept) as (process, server), client_of(server.url) as http:
        box = make(http)
        command = start(http, box)

        def wait() -> None:
            with client_of(server.url) as own:
                answers.append(own.post(f"{box}/commands", json={"command": "touch on; sleep 2; echo done"}))

        waiting = threading.Thread(target=wait)
        waiting.start()
        while told(http.post(f"{box}/commands", json={"command": "test -e on"}))["exit_code"]:
            pass
        process.send_signal(signal.SIGTERM)
        waiting.join()
        assert process.wait(60) == 0
    assert told(answers[0])["stdout"] == "done\n"
    with serving(env) as (_, server), client_of(server.url) as http:
        assert_counted(http, command)
        assert told(http.post(f"{box}/commands", json={"command": "echo on"}))["stdout"] == "on\n"
        verified = told(http.get("/v1/audit/verification"))
    assert verified["whole"]


@contextmanager
def load(url: str) -> Iterator[Callable[[], tuple[list[str], list[httpx.Response | Exception]]]]:
    """Makes sandboxes and starts commands all the time; tells what was acknowledged, and what was refused."""
    acknowledged: list[str] = []
    refused: list[httpx.Response | Exception] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            # A connection each, as a proxy's clients have: one that ends in between is no server's promise.
            with client_of(url) as http:
                try:
                    box = make(http)
                    acknowledged.append(start(http, box, "echo kept"))
                except (httpx.HTTPError, AssertionError) as error:
                    refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def end() -> tuple[list[str], list[httpx.Response | Exception]]:
        over.set()
        for thread in threads:
            thread.join()
        return acknowledged, refused

    try:
        yield end
    finally:
        end()


def goes_on(url: str, box: str) -> bool:
    """Whether a sandbox takes a command; on a connection of its own, as a dead process may have had the last one."""
    with client_of(url) as http:
        try:
            answer = http.post(f"{box}/commands", json={"command": "echo on"})
        except httpx.TransportError:
            return False
    assert answer.is_success or answer.status_code == 503
    return answer.is_success


@pytest.mark.anyio
@pytest.mark.timeout(600)
async def test_workers_are_started_anew_under_load_one_after_the_other_and_lose_nothing(
    env: dict[str, str],
) -> None:
    folder = Path(env["LM_SANDBOX_DATA_DIR"]) / SERVERS
    launchers = Path(env["LM_SANDBOX_DATA_DIR"]) / "launchers"
    with serving(env, "--workers", "2") as (process, server):
        with client_of(server.url) as http:
            before = {pid for _, pid in serving_urls(folder)}
            assert len(before) == 2
            command = start(http, make(http), COUNTING.replace("0.01", "0.05"))
        with load(server.url) as end:
            process.send_signal(signal.SIGHUP)
            await eventually(lambda: not before & {pid for _, pid in serving_urls(folder)}, 300)
            acknowledged, _ = end()
        with client_of(server.url) as http:
            assert_counted(http, command)
            for one in acknowledged:
                assert told(http.get(one, params={"wait_s": 60}))["stdout"] == "kept\n"
            assert acknowledged
            # One that dies is followed by another, and what it had goes on.
            killed = serving_urls(folder)[0][1]
            boxes = [make(http) for _ in range(3)]
            os.kill(killed, signal.SIGKILL)
            for box in boxes:
                while not goes_on(server.url, box):
                    pass
            await eventually(lambda: len({pid for _, pid in serving_urls(folder)} - {killed}) == 2, 60)
    await eventually(lambda: not any(launchers.iterdir()), 60)
    assert not serving_urls(folder)


@pytest.fixture
def ending() -> Iterator[subprocess.Popen[bytes]]:
    """Stands for a process that is ending: it lives until it is killed."""
    with subprocess.Popen(["sleep", "infinity"]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.anyio
async def test_what_a_process_has_that_listens_no_more_is_waited_for_and_never_called_unknown(
    env: dict[str, str], ending: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(env["LM_SANDBOX_DATA_DIR"])
    now = datetime.now(UTC)
    with serving(env) as (_, server):
        record = SandboxRecord(
            id="sb_00000000000000aa",
            owner="somebody",
            name="left",
            metadata={},
            created_at=now,
            last_active_at=now,
            lifetime=Lifetime(),
            egress=EgressPolicy(),
            state=SandboxState.RUNNING,
            server=server_of(ending.pid),
        )
        async with Database(backend_of(DatabaseSettings(), folder)) as database:
            await SandboxStore(database).add(record)
        # By a short name, as sockets have no longer ones.
        monkeypatch.chdir(folder / SERVERS)
        with socket.socket(socket.AF_UNIX) as listened:
            listened.bind(f"{record.server}.socket")
        with client_of(server.url) as http:
            told = http.get(f"/v1/sandboxes/{record.id}")
            assert (told.status_code, told.json()["code"]) == (503, "held_elsewhere")
            ending.kill()
            assert http.get(f"/v1/sandboxes/{record.id}").json()["state"] == "failed", "nothing held it"
