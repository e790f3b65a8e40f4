"""The command line as a user runs it, in processes of its own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from lm_sandbox.storage.servers import SERVERS, serving_urls
from tests.conftest import NOWHERE, Server, lm_sandbox, serving
from tests.control_groups import groups_below

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
LIMIT_S = 60


def call(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [lm_sandbox(), *arguments], env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_run_shows_the_command_its_output_and_the_answer(command_env: dict[str, str]) -> None:
    done = call(command_env, "run", "cat /proc/sys/kernel/random/boot_id")
    assert done.returncode == 0, done.stderr
    for part in ("prompt", "nano (demo model, engine llamacpp)", "sandbox  sb_", "bash", BOOT_ID, "exit 0", "answer", "total"):  # fmt: skip
        assert part in done.stdout


def test_run_prints_events_as_json(command_env: dict[str, str]) -> None:
    done = call(command_env, "run", "--json", "what is 437 * 91?")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["type"] == "response.created"
    assert events[-1]["response"]["output"][1]["output"][0]["stdout"] == "39767\n"


def test_exec_gives_the_commands_own_output_and_status(command_env: dict[str, str]) -> None:
    done = call(command_env, "exec", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert call(command_env, "exec", "--timeout", "0.3", "sleep 30").returncode == 124


def test_exec_reaches_only_the_domains_that_are_allowed(command_env: dict[str, str]) -> None:
    script = "echo $HTTPS_PROXY; curl -sS http://evil.test/"
    done = call(command_env, "exec", "--allow-domain", "pypi.org", "--allow-domain", "*.npmjs.org", script)
    assert "http://127.0.0.1:3128" in done.stdout
    assert "none of the 2 rules of the allowlist names it" in done.stdout
    refused = call(command_env, "exec", "--allow-domain", "https://pypi.org", "true")
    assert refused.returncode == 1
    assert "A rule is a host name" in refused.stderr


def test_doctor_names_every_check(command_env: dict[str, str]) -> None:
    done = call(command_env, "doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert {check["name"] for check in report["checks"]} == {
        "bubblewrap", "user namespaces", "system call filter", "control groups", "cpu controller", "images", "rights",
    }  # fmt: skip
    assert "user namespaces" in call(command_env, "doctor").stdout


def test_without_bubblewrap_the_fix_is_told_and_nothing_runs(
    command_env: dict[str, str], tmp_path: Path
) -> None:
    env = command_env | {"PATH": str(tmp_path)}
    done = call(env, "run", "hello")
    assert done.returncode == 1
    assert "apt-get install --yes bubblewrap" in done.stderr
    assert "Traceback" not in done.stderr
    assert call(env, "doctor").returncode == 1


def test_without_user_namespaces_the_reason_and_the_fix_are_told(command_env: dict[str, str]) -> None:
    # Where the unprivileged user that the check becomes can read it too.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    refusing = folder / "bwrap"
    refusing.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "bubblewrap 0.9.0" && exit\n'
        'echo "bwrap: setting up uid map: Permission denied" >&2\nexit 1\n'
    )
    refusing.chmod(0o755)
    done = call(command_env | {"PATH": f"{folder}:/usr/bin:/bin"}, "run", "hello")
    shutil.rmtree(folder)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_named(command_env: dict[str, str]) -> None:
    done = call(command_env | {"LM_SANDBOX_PORT": "many"}, "doctor")
    assert done.returncode == 2
    assert "port" in done.stderr


def test_an_unknown_model_is_told_with_those_that_exist(command_env: dict[str, str]) -> None:
    done = call(command_env, "run", "--model", "gpt-9", "hi")
    assert done.returncode == 1
    assert "nano" in done.stderr


def test_help_lists_every_command(command_env: dict[str, str]) -> None:
    done = call(command_env, "--help")
    for command in ("run", "exec", "serve", "doctor", "models", "keys"):
        assert command in done.stdout
    assert call(command_env, "--version").stdout.strip()


def test_the_command_line_uses_a_server_that_runs(server: Server, command_env: dict[str, str]) -> None:
    sandbox = json.loads(call(command_env, "exec", "--json", "echo x").stdout)
    assert sandbox["stdout"] == "x\n"
    assert call(command_env, "keys", "show").stdout.strip() == server.key
    assert serving_urls(server.data_dir / SERVERS) == [(server.url, server.pid)]


def test_a_taken_port_is_told(server: Server, command_env: dict[str, str]) -> None:
    port = server.url.rsplit(":", 1)[1]
    done = call(command_env, "serve", "--port", port)
    assert done.returncode == 1
    assert "--port" in done.stderr


def test_the_key_is_shown_at_the_first_serve_only(command_env: dict[str, str]) -> None:
    shown = [_serve_once(command_env) for _ in range(2)]
    assert "lms_" in shown[0]
    assert "lms_" not in shown[1]
    assert "keys show" in shown[1]


def _serve_once(env: dict[str, str]) -> str:
    process = subprocess.Popen(
        [lm_sandbox(), "serve", "--port", "0"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Stop with"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    return "".join(lines)


@pytest.mark.parametrize("victim", ["server", "launcher"])
def test_killing_the_server_leaves_no_process_and_no_group(command_env: dict[str, str], victim: str) -> None:
    with serving({**command_env, "LM_SANDBOX_SANDBOX__RECOVERY_S": "0"}) as (_, server):
        uid = kill(server, victim)
        deadline = time.monotonic() + LIMIT_S
        while (_processes(uid) or _groups(server.pid, victim)) and time.monotonic() < deadline:
            os.sched_yield()
        assert not _processes(uid)
        assert not _groups(server.pid, victim)


def kill(server: Server, victim: str) -> int:
    """Kills a server with a program in a sandbox, and returns the host user of that."""
    headers = {"Authorization": f"Bearer {server.key}"}
    made = httpx.post(f"{server.url}/v1/sandboxes", json={}, headers=headers).json()
    path = f"{server.url}/v1/sandboxes/{made['id']}/commands"
    httpx.post(path, json={"command": "setsid sleep 999 & echo x"}, headers=headers)
    uid = made["enforced"]["host_uid"]
    assert _processes(uid)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    launcher = next(pid for pid in children if b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(server.pid if victim == "server" else int(launcher), signal.SIGKILL)
    if victim == "launcher":
        os.kill(server.pid, signal.SIGKILL)
    return int(uid)


def _processes(uid: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                found.append(entry.name)
        except OSError:
            continue
    return found


def _groups(pid: int, victim: str) -> list[Path]:
    # A launcher that is killed cannot clean up: its groups are empty, and the next server removes them.
    if victim == "launcher":
        return []
    return groups_below(f"lm-sandbox-{pid}")


def test_the_next_server_removes_what_a_killed_one_left(command_env: dict[str, str]) -> None:
    parent = next(iter(Path("/sys/fs/cgroup").glob("pids")), Path("/sys/fs/cgroup"))
    stale = parent / "lm-sandbox-999999999" / "sb_old"
    stale.mkdir(parents=True)
    assert NOWHERE in command_env.values()
    assert call(command_env, "exec", "true").returncode == 0
    assert not stale.parent.exists()


def test_an_ordinary_user_starts_again_in_a_delegated_scope(tmp_path: Path) -> None:
    """Systemd cannot run here: a stand-in for systemd-run shows what it is asked for."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    stand_in = folder / "systemd-run"
    stand_in.write_text('#!/bin/sh\necho "$LM_SANDBOX_SCOPE $*"\n')
    stand_in.chmod(0o755)
    code = (
        "import os, sys; from lm_sandbox.cli import scope; os.geteuid = lambda: 1000; "
        "scope.is_delegated = lambda: False; sys.argv = ['lm-sandbox', 'run', 'hi']; scope.enter_scope()"
    )
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(
        [Path(lm_sandbox()).with_name("python"), "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(folder)
    assert "1 --user --scope --quiet -p Delegate=yes" in done.stdout
    assert done.stdout.rstrip().endswith("lm-sandbox run hi")
    assert tmp_path.exists()


def test_verify_reports_that_every_attempt_was_in_vain(command_env: dict[str, str]) -> None:
    groups = ("files", "privileges", "root: privileges")
    done = call(command_env, "verify", "--json", *(word for group in groups for word in ("--only", group)))
    report = json.loads(done.stdout)
    assert done.returncode == 0, [row for row in report["attempts"] if not row["held"]]
    assert (report["held"], report["left_out"]) == (True, {})
    assert {row["group"] for row in report["attempts"]} == set(groups)
    assert len(report["attempts"]) > 40
    unknown = call(command_env, "verify", "--only", "nonsense")
    assert (unknown.returncode, "no attempts of such a group" in unknown.stderr) == (1, True)


def test_limits_are_given_at_the_making_and_changed_and_gpus_are_refused_unless_allowed(
    server: Server, command_env: dict[str, str]
) -> None:
    assert server.pid
    assert call(command_env, "sandbox", "create", "--name", "mine", "--pids", "99").returncode == 0
    limited = call(command_env, "sandbox", "limit", "mine", "--cpus", "0.5", "--cpuset", "0")
    assert [line.split(" (")[0] for line in limited.stdout.splitlines()[:4]] == [
        "cpus: 0.5", "cpuset: 0", "memory: 1536 MiB", "pids: 99",
    ]  # fmt: skip
    lent = call(command_env, "sandbox", "create", "--gpus", "1")
    assert lent.returncode == 1
    assert "sandbox.gpus" in lent.stderr


def test_sandboxes_are_made_shown_halted_and_deleted_by_name(
    server: Server, command_env: dict[str, str]
) -> None:
    made = call(command_env, "sandbox", "create", "--name", "mine")
    assert made.stdout.startswith("sb_"), made.stderr
    listed = json.loads(call(command_env, "sandbox", "list", "--json").stdout)
    assert [(row["name"], row["id"]) for row in listed] == [("mine", made.stdout.strip())]
    assert "mine" in call(command_env, "sandbox", "list").stdout
    for action, state in (
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
        ("start", "running"),
    ):
        assert call(command_env, "sandbox", action, "mine").returncode == 0
        shown = json.loads(call(command_env, "sandbox", "show", "mine", "--json").stdout)
        assert shown["state"] == state
    assert "host_uid" in call(command_env, "sandbox", "show", "mine").stdout
    refused = call(command_env, "sandbox", "start", "mine")
    assert (refused.returncode, "running" in refused.stderr) == (1, True)
    assert call(command_env, "sandbox", "delete", "mine").returncode == 0
    assert json.loads(call(command_env, "sandbox", "list", "--json").stdout) == []
    assert server.pid


def test_sandboxes_need_a_server_that_runs(command_env: dict[str, str]) -> None:
    refused = call(command_env, "sandbox", "list")
    assert refused.returncode == 1
    assert "lm-sandbox serve" in refused.stderr


def test_a_run_can_be_listed_shown_exported_and_forgotten(command_env: dict[str, str]) -> None:
    assert call(command_env, "run", "cat /proc/sys/kernel/random/boot_id").returncode == 0
    [run] = json.loads(call(command_env, "runs", "list", "--json").stdout)
    assert run["id"] in call(command_env, "runs", "list").stdout
    shown = call(command_env, "runs", "show", run["id"]).stdout
    for part in ("prompt   cat /proc/sys", "bash     cat /proc/sys", BOOT_ID, "(exit 0)", "answer"):
        assert part in shown
    [exported] = [json.loads(line) for line in call(command_env, "runs", "export").stdout.splitlines()]
    assert exported["input"][0]["content"][0]["text"] == "cat /proc/sys/kernel/random/boot_id"
    assert exported["output"][1]["output"][0]["stdout"] == BOOT_ID + "\n"
    assert call(command_env, "runs", "delete", run["id"]).returncode == 0
    gone = call(command_env, "runs", "show", run["id"])
    assert gone.returncode == 1
    assert "There is no response" in gone.stderr


def test_users_are_made_shut_out_and_deleted_with_and_without_a_server(command_env: dict[str, str]) -> None:
    given = call(command_env, "users", "create", "anna", "--scope", "models", "--quota", "runs=2")
    assert "shown this once" in given.stderr
    with serving(command_env) as (_, server):
        form = {"grant_type": "password", "username": "anna", "password": given.stdout.strip()}
        assert httpx.post(f"{server.url}/oauth/token", data=form).status_code == 200
        new = "quite another password"
        changed = subprocess.run(
            [lm_sandbox(), "users", "passwd", "anna", "--password-from", "stdin"],
            env=command_env, input=f"{new}\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert new not in changed.stdout + changed.stderr
        assert httpx.post(f"{server.url}/oauth/token", data=form).status_code == 400
        token = httpx.post(f"{server.url}/oauth/token", data={**form, "password": new}).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
        shut = json.loads(call(command_env, "users", "disable", "anna", "--json").stdout)
        assert (shut["state"], shut["quotas"]["runs"]) == ("disabled", 2)
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401
        assert json.loads(call(command_env, "users", "enable", "anna", "--json").stdout)["state"] == "active"
        assert "anna" in call(command_env, "users", "list").stdout
        assert shut["id"] in call(command_env, "users", "show", "anna").stdout
        assert call(command_env, "users", "delete", "anna").returncode == 0
        assert json.loads(call(command_env, "users", "list", "--json").stdout) == []
    refused = call(command_env, "users", "show", "anna")
    assert (refused.returncode, "There is no user" in refused.stderr) == (1, True)


def test_keys_are_made_listed_rotated_and_revoked_with_and_without_a_server(
    command_env: dict[str, str],
) -> None:
    made = json.loads(
        call(command_env, "keys", "create", "ci", "--scope", "models", "--expires", "90d", "--quota", "runs=2", "--json").stdout
    )  # fmt: skip
    assert (made["scopes"], made["quotas"]["runs"], made["state"]) == (["models"], 2, "active")
    with serving(command_env) as (_, server):
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
        renewed = call(command_env, "keys", "rotate", "ci")
        assert "shown this once" in renewed.stderr
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401
        headers = {"Authorization": f"Bearer {renewed.stdout.strip()}"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
        assert json.loads(call(command_env, "keys", "revoke", "ci", "--json").stdout)["state"] == "revoked"
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401
        assert made["token"] not in call(command_env, "keys", "list").stdout
        rows = json.loads(call(command_env, "keys", "list", "--json").stdout)
        assert [(row["name"], row["state"]) for row in rows] == [("local", "active"), ("ci", "revoked")]
        assert "key_revoked" not in call(command_env, "keys", "show", made["id"]).stdout
        assert call(command_env, "keys", "show").stdout.strip() == server.key
    for wrong in (("--expires", "soon"), ("--quota", "many"), ("--scope", "root")):
        refused = call(command_env, "keys", "create", "x", "--scope", "models", *wrong)
        assert refused.returncode == 1
        assert refused.stderr
