"""Shells over HTTP: what one command leaves behind, the next one finds, whatever became of bash."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from tests.conftest import Server

pytestmark = pytest.mark.anyio

Run = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def sandbox(client: httpx.AsyncClient) -> str:
    """The address of a sandbox."""
    made = await client.post("/v1/sandboxes", json={})
    return f"/v1/sandboxes/{made.json()['id']}"


@pytest.fixture
async def shell(client: httpx.AsyncClient, sandbox: str) -> str:
    """The address of a shell."""
    made = await client.post(f"{sandbox}/shells", json={})
    assert made.status_code == 201, made.text
    return f"{sandbox}/shells/{made.json()['id']}"


@pytest.fixture
def run(client: httpx.AsyncClient, shell: str) -> Run:
    """Runs a command in the shell."""

    async def run_one(command: str, **more: object) -> dict[str, Any]:
        answer = await client.post(f"{shell}/run", json={"command": command, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return run_one


async def test_folders_variables_functions_and_settings_stay(run: Run) -> None:
    for command in (
        "cd /tmp; export A=exported; b='of the shell'; umask 077",
        "f() { echo \"in f: $1\"; }; alias ll='echo alias'",
        "shopt -s nullglob; set -o pipefail; set -- x 'y z'; list=(1 '2 3')",
    ):
        assert (await run(command))["exit_code"] == 0
    found = await run(
        'echo $PWD $A "$b" $(umask) $(bash -c "echo \\$A"); f "1 2"; ll; echo "$2" "${list[1]}"'
    )
    assert found["stdout"] == "/tmp exported of the shell 0077 exported\nin f: 1 2\nalias\ny z 2 3\n"
    assert (found["cwd"], found["shell"]) == ("/tmp", "kept")
    assert (await run("echo /none*; false | true"))["exit_code"] == 1


async def test_the_exit_status_of_a_command_is_the_next_ones_first(run: Run) -> None:
    assert (await run("(exit 7)"))["exit_code"] == 7
    assert (await run("echo $?"))["stdout"] == "7\n"
    assert (await run("echo $?"))["stdout"] == "0\n"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 3", 3),
        ("set -e; false; echo not reached", 1),
        ("set -u; echo $nothing_of_this_name", 127),
        ("f() { exit 6; }; f", 6),
        ("trap 'echo bye' EXIT; exit 5", 5),
        ("echo ${nothing:?is missing}", 127),
    ],
)
async def test_a_shell_that_ends_is_followed_by_one_that_knows_what_it_knew(
    run: Run, command: str, code: int
) -> None:
    await run("cd /tmp; a=1; export b='two words'; f0() { echo \"f0 $a\"; }; shopt -s extglob")
    found = await run(f"c=3; {command}")
    assert (found["exit_code"], found["shell"], found["cwd"]) == (code, "restored", "/tmp")
    after = await run('set +eu; echo $PWD $a "$b" $c; f0; [[ xxx == +(x) ]] && bash -c "echo \\$b"')
    assert after["stdout"].splitlines() == ["/tmp 1 two words 3", "f0 1", "two words"]
    assert after["stderr"] == ""


@pytest.mark.parametrize(
    ("command", "code", "signal"), [("exec sh -c 'exit 9'", 9, None), ("kill -9 $$", None, "SIGKILL")]
)
async def test_a_shell_that_could_not_tell_what_it_knew_is_followed_by_a_new_one_in_its_folder(
    run: Run, command: str, code: int | None, signal: str | None
) -> None:
    await run("cd /tmp; a=1")
    found = await run(command)
    assert (found["exit_code"], found["signal"], found["shell"]) == (code, signal, "lost")
    assert (await run('echo "$PWD-$a"'))["stdout"] == "/tmp-\n"


@pytest.mark.parametrize(
    "command",
    [
        "sleep 1000; echo not reached",
        "while :; do :; done",
        "(trap '' INT TERM HUP; while :; do read -t 0.2 < <(:); done); echo not reached",
        "setsid sleep 1000",
        "x=$(sleep 1000); echo not reached",
        "mkfifo /tmp/never; read line < /tmp/never",
        "read line < <(sleep 1000)",
        "sleep 1000 | cat",
    ],
)
async def test_a_command_out_of_time_is_ended_and_the_shell_knows_what_it_knew(
    run: Run, command: str
) -> None:
    await run("cd /tmp; a=1; sleep 3000 & early=$!")
    found = await run(f"b=2; {command}", timeout_s=0.5)
    assert (found["timed_out"], found["exit_code"], found["signal"]) == (True, None, "SIGKILL")
    assert found["shell"] == "restored"
    assert "not reached" not in found["stdout"]
    after = await run("echo $PWD $a $b; kill -0 $early && echo early lives; pgrep -x sleep -c")
    assert after["stdout"] == "/tmp 1 2\nearly lives\n1\n"


async def test_a_crash_of_a_command_is_its_own(run: Run) -> None:
    await run("a=1")
    found = await run("bash -c 'kill -SEGV $$'; echo $?")
    assert found["stdout"] == "139\n"
    assert (await run("echo $a"))["stdout"] == "1\n"


async def test_syntax_errors_and_stray_words_end_nothing(run: Run) -> None:
    await run("a=1")
    assert (await run("if then"))["exit_code"] == 2
    assert (await run("echo 'unfinished"))["exit_code"] != 0
    assert (await run("return 4"))["exit_code"] != 0
    assert (await run("cat <<'X'\nno end"))["stdout"] == "no end\n"
    assert (await run("# nothing"))["exit_code"] == 0
    assert (await run("echo $a"))["stdout"] == "1\n"


async def test_a_break_outside_a_loop_ends_no_shell_for_good(run: Run) -> None:
    await run("a=1")
    await run("break")
    assert (await run("echo $a"))["stdout"] == "1\n"


async def test_output_that_looks_like_an_answer_is_only_output(run: Run) -> None:
    found = await run(r"printf 'd1 0 /tmp\0d2 0 /x\0$ \nbash-5.2$ '; printf 's\0' >&2; (exit 4)")
    assert found["stdout"] == "d1 0 /tmp\0d2 0 /x\0$ \nbash-5.2$ "
    assert (found["stderr"], found["exit_code"], found["cwd"]) == ("s\0", 4, "/workspace")


async def test_a_forged_answer_harms_no_one_else_and_the_shell_goes_on(run: Run) -> None:
    """Whoever writes into the shell's own channel cheats themselves, and only once."""
    await run(r"printf 'd999 0 /x\0dzz\0d\0\0q' >&51; printf '\0' >&51")
    assert (await run("echo fine; (exit 5)"))["exit_code"] == 5


async def test_programs_in_a_shell_have_three_descriptors(run: Run) -> None:
    found = await run("ls /proc/self/fd; (exec sh -c 'ls /proc/self/fd')")
    assert found["stdout"].split() == ["0", "1", "2", "3"] * 2, "3 is the folder that ls reads"


async def test_descriptors_that_a_command_opens_are_its_own(run: Run) -> None:
    await run("exec 3>/tmp/three 10>/tmp/ten 42>/tmp/more {free}>/tmp/free")
    await run("echo a >&3; echo b >&10; echo c >&42; echo d >&$free")
    assert (await run("cat /tmp/three /tmp/ten /tmp/more /tmp/free; exec 3>&- 10>&-"))[
        "stdout"
    ] == "a\nb\nc\nd\n"


async def test_output_can_be_sent_elsewhere_for_good(run: Run) -> None:
    await run("exec 4>&1 >/tmp/log 2>&1")
    assert (await run("echo hidden; echo too >&2"))["stdout"] == ""
    assert (await run("exec >&4; cat /tmp/log"))["stdout"] == "hidden\ntoo\n"


async def test_a_shell_that_closed_its_channel_ends_and_another_one_follows(run: Run) -> None:
    await run("cd /tmp")
    assert (await run("exec 50<&- 51>&-"))["shell"] == "lost"
    assert (await run("pwd"))["stdout"] == "/tmp\n"


async def test_what_runs_in_the_background_goes_on_and_shows_with_the_next_command(run: Run) -> None:
    await run("(while [ ! -e /tmp/go ]; do sleep 0.02; done; echo later; touch /tmp/done) &")
    await run("touch /tmp/go; while [ ! -e /tmp/done ]; do sleep 0.02; done")
    found = await run("jobs; wait; echo now")
    assert found["stdout"].endswith("now\n")


async def test_background_output_between_commands_never_makes_its_writer_wait(run: Run) -> None:
    await run("(head -c 10000000 /dev/zero; touch /tmp/written) & ")
    with anyio.fail_after(20):
        while (await run("[ -e /tmp/written ]", encoding="base64"))["exit_code"]:
            pass


async def test_a_background_child_survives_the_shell_that_exits(run: Run) -> None:
    await run("sleep 3000 & child=$!; exit 1")
    assert (await run("kill -0 $child && echo lives"))["stdout"] == "lives\n"


async def test_huge_output_is_bounded_and_told(run: Run) -> None:
    found = await run("head -c 30000000 /dev/zero | tr '\\0' x; echo end")
    assert (found["stdout_bytes"], found["truncated"]) == (30_000_004, True)
    assert found["stdout"].endswith("xend\n")
    assert (await run("echo next"))["stdout"] == "next\n"


async def test_a_long_command_with_every_byte_comes_through(run: Run) -> None:
    text = "".join(chr(number) for number in itertools.chain(range(32, 127), range(161, 0x2000, 7)))
    quoted = text.replace("'", "'\\''")
    found = await run(f"x='{quoted * 12}'; printf %s \"$x\"")
    assert found["stdout"] == text * 12


async def test_state_that_is_too_much_is_lost_but_never_the_shell(run: Run) -> None:
    await run("cd /tmp; big=$(head -c 5000000 /dev/zero | tr '\\0' x)")
    assert (await run("exit 2", timeout_s=20))["shell"] == "lost"
    assert (await run("pwd"))["stdout"] == "/tmp\n"


async def test_traps_of_the_user_run_and_stay(run: Run) -> None:
    await run("trap 'echo on exit' EXIT; trap 'echo usr' USR1")
    assert (await run("kill -USR1 $$; echo sent"))["stdout"] == "usr\nsent\n"
    assert (await run("exit 4"))["stdout"] == "on exit\n"
    assert (await run("kill -USR1 $$"))["stdout"] == "usr\n"
    await run("trap - EXIT")
    assert (await run("exit 4"))["stdout"] == ""


async def test_tracing_shows_the_commands_and_not_ours(run: Run) -> None:
    await run("set -x")
    found = await run("echo hi")
    assert found["stderr"] == "+ eval 'echo hi'\n++ echo hi\n"


async def test_commands_of_a_shell_wait_for_each_other(run: Run) -> None:
    found: list[str] = []

    async def send(number: int) -> None:
        found.append((await run(f"n=$((n + 1)); sleep 0.0{number}; echo $n"))["stdout"])

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(send, number)
    assert found == [f"{number}\n" for number in range(1, 9)]


async def test_a_run_is_a_command_of_the_sandbox(client: httpx.AsyncClient, sandbox: str, shell: str) -> None:
    body = {"command": "cd /tmp; echo $((6 * 7)); (exit 3)", "background": True}
    started = await client.post(f"{shell}/run", json=body)
    assert started.status_code == 201
    command = f"{sandbox}/commands/{started.json()['id']}"
    ended = (await client.get(command, params={"wait_s": 20})).json()
    assert (ended["status"], ended["exit_code"], ended["stdout"]) == ("ended", 3, "42\n")
    assert (await client.get(shell)).json()["cwd"] == "/tmp"
    async with client.stream("POST", f"{shell}/run", json={"command": "pwd", "stream": True}) as answer:
        text = (await answer.aread()).decode()
    assert "/tmp" in text
    assert "event: exit" in text


async def test_ending_a_run_ends_what_it_started_and_leaves_the_shell(
    client: httpx.AsyncClient, sandbox: str, shell: str, run: Run
) -> None:
    await run("a=1")
    body = {"command": "b=2; setsid sleep 4000", "background": True}
    started = await client.post(f"{shell}/run", json=body)
    while not (await client.post(f"{sandbox}/commands", json={"command": "pgrep -x sleep"})).json()["stdout"]:
        pass
    await client.delete(f"{sandbox}/commands/{started.json()['id']}")
    found = await run("echo $a $b; pgrep -xc sleep")
    assert found["stdout"] == "1 2\n0\n"


async def test_a_client_that_leaves_ends_its_run_only(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
        sandbox = f"/v1/sandboxes/{(await client.post('/v1/sandboxes', json={})).json()['id']}"
        run = f"{sandbox}/shells/{(await client.post(f'{sandbox}/shells', json={})).json()['id']}/run"
        await client.post(run, json={"command": "a=1"})
        body = {"command": "b=2; setsid sleep 4321 & echo on; wait", "stream": True}
        async with client.stream("POST", run, json=body) as answer:
            await anext(answer.aiter_lines())
        found = await client.post(run, json={"command": "echo $a $b; pgrep -xc sleep"})
    assert found.json()["stdout"] == "1 2\n0\n"


async def test_stopping_the_sandbox_ends_the_shells_which_begin_anew(
    client: httpx.AsyncClient, sandbox: str, run: Run
) -> None:
    await run("cd /tmp; a=1")
    await client.post(f"{sandbox}/stop")
    await client.post(f"{sandbox}/start")
    assert (await run('echo "$PWD-$a"'))["stdout"] == "/tmp-\n"


async def test_limits_that_a_command_hits_are_told_for_it_alone(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/sandboxes", json={"limits": {"memory_mib": 64, "disk_mib": 16}})
    sandbox = f"/v1/sandboxes/{made.json()['id']}"
    shell = (await client.post(f"{sandbox}/shells", json={"env": {"HELLO": "you"}, "cwd": "/tmp"})).json()[
        "id"
    ]
    run = f"{sandbox}/shells/{shell}/run"
    hog = "python3 -c 'b\"x\" * 200_000_000'"
    assert (await client.post(run, json={"command": hog})).json()["oom_killed"]
    after = (await client.post(run, json={"command": "echo $HELLO; pwd"})).json()
    assert (after["oom_killed"], after["stdout"]) == (False, "you\n/tmp\n")


async def test_shells_are_listed_and_deleted_with_what_they_started(
    client: httpx.AsyncClient, sandbox: str, shell: str, run: Run
) -> None:
    await run("setsid sleep 6000 & exit 1")
    await run("sleep 6000 &")
    other = (await client.post(f"{sandbox}/shells", json={})).json()["id"]
    page = (await client.get(f"{sandbox}/shells", params={"limit": 1})).json()
    assert shell.endswith(page["data"][0]["id"])
    rest = (await client.get(f"{sandbox}/shells", params={"after": page["next_after"]})).json()
    assert [one["id"] for one in rest["data"]] == [other]
    assert (await client.delete(shell)).status_code == 204
    count = await client.post(f"{sandbox}/commands", json={"command": "pgrep -xc sleep"})
    assert count.json()["stdout"] == "0\n"
    gone = await client.post(f"{shell}/run", json={"command": "true"})
    assert (gone.status_code, gone.json()["code"]) == (404, "shell_not_found")


async def test_a_sandbox_has_so_many_shells_at_most(client: httpx.AsyncClient, sandbox: str) -> None:
    codes = [(await client.post(f"{sandbox}/shells", json={})).status_code for _ in range(33)]
    assert codes == [201] * 32 + [429]


@pytest.mark.parametrize("body", [{"command": ""}, {"command": "a\0b"}, {"command": "x", "cwd": "/"}, {}])
async def test_bad_input_names_the_field(client: httpx.AsyncClient, shell: str, body: dict[str, str]) -> None:
    answer = await client.post(f"{shell}/run", json=body)
    assert answer.status_code == 422
