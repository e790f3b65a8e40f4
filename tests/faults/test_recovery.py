"""A server that is killed: the next one goes on where it stopped, or nothing of it is left."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import eventually, serving
from tests.control_groups import control_groups
from tests.faults.successive import KEY, Servers, ended, make, run, servers
from tests.processes import pids_with
from tests.sandboxes.imaged import needs_images

__all__ = ["servers"]

pytestmark = pytest.mark.anyio


def test_a_background_command_goes_on_and_loses_no_output(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client, name="mine", metadata={"a": "b"}, env={"HELLO": "you"})
    script = "for i in $(seq 1 300); do echo $i; echo e$i >&2; sleep 0.01; done; exit 5"
    command = f"{sandbox}/commands/{run(client, sandbox, script, background=True)['id']}"
    run(client, sandbox, "echo kept > /workspace/file")
    changed = client.patch(sandbox, json={"limits": {"pids": 77, "memory_mib": 300}}).json()
    client = servers.follow()
    again = client.get(sandbox).json()
    assert again["enforced"]["limits"] == changed["enforced"]["limits"]
    # What is left out of a change is what it was before the server was killed.
    assert (
        client.patch(sandbox, json={"limits": {"cpus": 0.5}}).json()["enforced"]["limits"]["pids"][:2] == "77"
    )
    assert (again["name"], again["metadata"], again["state"]) == ("mine", {"a": "b"}, "running")
    assert run(client, sandbox, "cat file; echo $HELLO")["stdout"] == "kept\nyou\n"
    found = ended(client, command)
    assert (found["status"], found["exit_code"]) == ("ended", 5)
    assert found["stdout"].split() == [str(number) for number in range(1, 301)]
    assert found["stderr"].split() == [f"e{number}" for number in range(1, 301)]
    assert found["stdout_bytes"] == len(found["stdout"])
    assert client.get(f"{command}/stdout").text == found["stdout"]


def test_a_command_that_ends_while_no_server_is_there_is_told_by_the_next_one(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    script = "echo on; while [ ! -e go ]; do sleep 0.01; done; echo off; kill -TERM $$"
    commands = [f"{sandbox}/commands/{run(client, sandbox, script, background=True)['id']}" for _ in range(3)]
    inside = client.get(f"{sandbox}/stats").json()["pids"]
    run(client, sandbox, "(sleep 0.3; touch go) > /dev/null 2>&1 &")
    assert inside
    servers.kill()
    client = servers.start()
    for command in commands:
        found = ended(client, command)
        assert (found["signal"], found["stdout"]) == ("SIGTERM", "on\noff\n")


@needs_images
def test_a_sandbox_with_an_image_goes_on_with_its_layers_and_its_root(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client, image="host")
    run(client, sandbox, "echo own > /etc/own; rm /usr/bin/env", user="root")
    before = client.post(f"{sandbox}/snapshots", json={}).json()["id"]
    script = "for i in $(seq 1 200); do echo $i; sleep 0.01; done; id -un"
    commands = [
        f"{sandbox}/commands/{run(client, sandbox, script, background=True, user=user)['id']}"
        for user in ("root", "sandbox")
    ]
    client = servers.follow()
    assert [ended(client, one)["stdout"].split()[-1] for one in commands] == ["root", "sandbox"]
    told = run(client, sandbox, "id -un; cat /etc/own; ls /usr/bin/env; echo new > /etc/own", user="root")
    assert told["stdout"] == "root\nown\n"
    changes = client.get(f"{sandbox}/changes", params={"since": before}).json()["data"]
    assert {"kind": "modified", "path": "/etc/own"} in changes
    assert client.post(f"{sandbox}/restore", json={"snapshot": before}).is_success
    assert run(client, sandbox, "cat /etc/own")["stdout"] == "own\n"
    assert client.get(sandbox).json()["enforced"]["user"] == "sandbox, root"


def test_what_had_ended_before_can_still_be_read_over_two_servers(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    big = "head -c 3000000 /dev/zero | tr '\\0' x; exit 3"
    command = f"{sandbox}/commands/{run(client, sandbox, big, background=True)['id']}"
    before = ended(client, command)
    servers.follow()
    client = servers.follow()
    assert ended(client, command) == before
    assert len(client.get(f"{command}/stdout").content) == 3_000_000
    listed = client.get(f"{sandbox}/commands").json()["data"]
    assert [one["exit_code"] for one in listed] == [3]


def test_a_command_whose_client_was_waiting_is_ended_with_all_it_started(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    run(client, sandbox, "(sleep 987654 > /dev/null 2>&1 &)")

    def wait() -> None:
        with suppress(httpx.HTTPError):
            run(client, sandbox, "touch begun; setsid sleep 876543 & sleep 876543")

    waiting = threading.Thread(target=wait)
    waiting.start()
    while run(client, sandbox, "test -e begun")["exit_code"]:
        pass
    client = servers.follow()
    waiting.join()
    assert run(client, sandbox, "pgrep -fx 'sleep 876543'")["stdout"] == ""
    left = run(client, sandbox, "pgrep -fx 'sleep 987654' | wc -l")["stdout"]
    assert left == "1\n", "what a command that had ended left running goes on"


def test_an_adopted_command_is_fed_signalled_and_ended_like_any_other(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    reader = run(client, sandbox, "while read x; do echo got $x; done", background=True, keep_stdin_open=True)
    sleeper = run(client, sandbox, "trap 'exit 7' INT; setsid sleep 765432 & wait", background=True)
    tree = run(client, sandbox, "setsid sleep 654321 & wait", background=True)
    client = servers.follow()
    commands = f"{sandbox}/commands"
    client.post(f"{commands}/{reader['id']}/stdin", json={"data": "one\n", "end": True}).raise_for_status()
    assert ended(client, f"{commands}/{reader['id']}")["stdout"] == "got one\n"
    client.post(f"{commands}/{sleeper['id']}/signal", json={"signal": "SIGINT"}).raise_for_status()
    assert ended(client, f"{commands}/{sleeper['id']}")["exit_code"] == 7
    client.delete(f"{commands}/{tree['id']}").raise_for_status()
    assert run(client, sandbox, "pgrep -fx 'sleep 654321'")["stdout"] == ""


def test_time_goes_on_for_commands_and_sandboxes(servers: Servers) -> None:
    client = servers.start()
    old = make(client, max_age_s=1)
    sandbox = make(client)
    command = run(client, sandbox, "sleep 1000", background=True, timeout_s=1)
    client = servers.follow()
    found = ended(client, f"{sandbox}/commands/{command['id']}")
    assert found["timed_out"]
    while (answer := client.get(old)).is_success:
        pass
    assert answer.status_code == 410


def test_a_paused_sandbox_stays_paused(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client)
    command = run(client, sandbox, "while :; do echo x; sleep 0.01; done", background=True)
    client.post(f"{sandbox}/pause").raise_for_status()
    client = servers.follow()
    assert client.get(sandbox).json()["state"] == "paused"
    size = client.get(f"{sandbox}/commands/{command['id']}").json()["stdout_bytes"]
    assert (
        client.get(f"{sandbox}/commands/{command['id']}", params={"wait_s": 0.3}).json()["stdout_bytes"]
        == size
    )
    client.post(f"{sandbox}/resume").raise_for_status()
    assert run(client, sandbox, "echo on")["stdout"] == "on\n"


def test_what_a_sandbox_may_reach_stays_as_it_was(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client, egress={"mode": "allowlist", "allow": ["example.invalid"]})
    client = servers.follow()
    assert client.get(sandbox).json()["egress"]["allow"] == ["example.invalid"]
    denied = run(client, sandbox, "curl -s -o /dev/null -w '%{http_code}' http://other.invalid/")
    assert denied["stdout"] == "403"


def test_limits_and_descriptors_hold_for_what_is_started_later(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client, limits={"memory_mib": 64, "disk_mib": 16})
    client = servers.follow()
    assert run(client, sandbox, "ls /proc/self/fd")["stdout"].split() == ["0", "1", "2", "3"]
    assert run(client, sandbox, "python3 -c 'b\"x\" * 300_000_000'")["oom_killed"]
    client.put(f"{sandbox}/files/workspace/a", content=b"hi").raise_for_status()
    assert run(client, sandbox, "cat a")["stdout"] == "hi"


async def test_what_a_server_kept_ready_ends_with_it(servers: Servers) -> None:
    client = servers.start()
    make(client)
    client = servers.follow()
    assert len(client.get("/v1/sandboxes").json()["data"]) == 1


async def test_a_server_that_is_stopped_in_order_leaves_nothing(command_env: dict[str, str]) -> None:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY}
    launchers = Path(env["LM_SANDBOX_DATA_DIR"]) / "launchers"
    with serving(env) as (process, server):
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            run(client, make(client), "setsid sleep 321987", background=True)
        assert pids_with(str(launchers))
    await eventually(lambda: not pids_with(str(launchers)))
    assert not any(launchers.iterdir())
    assert not pids_with("321987")
    assert not control_groups(f"lm-sandbox-{process.pid}")


async def test_without_another_server_everything_ends(command_env: dict[str, str]) -> None:
    env = {**command_env, "LM_SANDBOX_API_KEY": KEY, "LM_SANDBOX_SANDBOX__RECOVERY_S": "0.5"}
    with serving(env) as (process, server):
        launchers = Path(env["LM_SANDBOX_DATA_DIR"]) / "launchers"
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            sandbox = make(client)
            run(client, sandbox, "setsid sleep 543219", background=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert pids_with("543219")
        await eventually(lambda: not pids_with("543219"))
        await eventually(lambda: not any(launchers.iterdir()))
        await eventually(lambda: not control_groups(f"lm-sandbox-{process.pid}"))


async def test_a_sandbox_whose_processes_died_with_the_server_is_told_as_failed(servers: Servers) -> None:
    client = servers.start()
    sandbox = make(client, name="lost")
    command = run(client, sandbox, "echo hi; sleep 432198", background=True)
    while not client.get(f"{sandbox}/commands/{command['id']}").json()["stdout"]:
        pass
    assert servers._process is not None
    launcher = [pid for pid in pids_with("launcher.py") if parent(pid) == servers._process.pid]
    servers._process.send_signal(signal.SIGSTOP)
    for pid in launcher:
        os.kill(pid, signal.SIGKILL)
    client = servers.follow()
    assert client.get(sandbox).json()["state"] == "failed"
    found = client.get(f"{sandbox}/commands/{command['id']}").json()
    assert (found["status"], found["stdout"]) == ("failed", "hi\n")
    assert client.post(f"{sandbox}/commands", json={"command": "true"}).status_code == 409
    assert client.delete(sandbox).status_code == 204
    await eventually(lambda: not pids_with("432198"))


def parent(pid: int) -> int:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat[stat.rindex(")") + 2 :].split()[1])
    return 0


def test_two_servers_over_one_data_directory_do_not_take_each_others_sandboxes(servers: Servers) -> None:
    first = servers.start()
    sandbox = make(first)
    wait = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two"
    command = run(first, sandbox, wait, background=True)
    second = servers.start()
    other = make(second)
    assert run(second, other, "echo two")["stdout"] == "two\n"
    assert run(first, sandbox, "echo one")["stdout"] == "one\n"
    assert len(second.get("/v1/sandboxes").json()["data"]) == 2
    servers.stop()
    assert run(first, other, "echo handed over")["stdout"] == "handed over\n"
    run(first, sandbox, "touch go")
    found = ended(first, f"{sandbox}/commands/{command['id']}")
    assert (found["exit_code"], found["stdout"]) == (0, "one\ntwo\n")
