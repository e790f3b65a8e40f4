"""Real programs in real sandboxes, and what they reach."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import Conflict
from lm_sandbox.sandboxes.egress import EgressMode
from lm_sandbox.sandboxes.sandbox import NewCommand
from tests.conftest import eventually
from tests.sandboxes.networked import OWNER, Box, box, low_ports
from tests.sandboxes.upstream import Upstream, certificate, loopback, upstream

pytestmark = pytest.mark.anyio
PYTHON = "/usr/bin/python3"
DIRECT = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY"


@pytest.fixture
async def web() -> AsyncIterator[Upstream]:
    async with upstream(loopback()) as made:
        yield made


@pytest.fixture
async def sandbox(web: Upstream) -> AsyncIterator[Box]:
    """A sandbox that reaches `up.test` at the port of a server on the host."""
    async with box(f"up.test:{web.port}", f"*.wild.test:{web.port}", f"{web.address}:{web.port}") as made:
        made.table.names = {"up.test": [web.address], "a.wild.test": [web.address]}
        yield made


async def test_curl_and_python_reach_an_allowed_host(sandbox: Box, web: Upstream) -> None:
    told = json.loads((await sandbox.run(f"curl -sS http://up.test:{web.port}/a?b=c")).stdout)
    assert told["target"] == "/a?b=c"
    assert told["headers"]["host"] == f"up.test:{web.port}"
    code = f"import urllib.request as u; print(u.urlopen('http://a.wild.test:{web.port}/w').read().decode())"
    assert '"/w"' in await sandbox.out(f'{PYTHON} -c "{code}"')


async def test_a_denial_is_a_403_that_says_why_and_an_event(sandbox: Box, web: Upstream) -> None:
    result = await sandbox.run(f"curl -sS -w '%{{http_code}}' http://evil.test:{web.port}/")
    text = result.stdout.decode()
    assert text.endswith("403")
    assert f"evil.test:{web.port} is denied: none of the 3 rules of the allowlist names it" in text
    assert "evil.test" in sandbox.refusals()[-1].subject
    assert sandbox.table.asked == []
    assert result.duration_ms < 5000


async def test_another_port_is_denied_by_name_of_the_rule(sandbox: Box, web: Upstream) -> None:
    text = await sandbox.out(f"curl -sS http://up.test:{web.port + 1}/")
    assert f"the rule up.test:{web.port} does not allow port {web.port + 1}" in text


async def test_a_tunnel_to_another_port_carries_anything(sandbox: Box, web: Upstream) -> None:
    text = await sandbox.out(f"curl -sS -p http://up.test:{web.port}/through")
    assert '"/through"' in text


async def test_bodies_go_through_whole_in_both_directions(sandbox: Box, web: Upstream) -> None:
    script = f"""
        head -c 3000000 /dev/zero > big
        curl -sS --data-binary @big http://up.test:{web.port}/sized
        cat big | curl -sS -T - http://up.test:{web.port}/chunked
        curl -sS http://up.test:{web.port}/big?100 | wc -c
        curl -sS -p http://up.test:{web.port}/big?100 | wc -c
    """
    text = await sandbox.out(script)
    assert text.count('"body": 3000000') == 2
    assert text.count("6553600") == 2


async def test_one_connection_carries_many_requests(sandbox: Box, web: Upstream) -> None:
    url = f"http://up.test:{web.port}"
    text = await sandbox.out(f"curl -sSv {url}/1 {url}/2 http://evil.test/ {url}/3")
    assert [f'"/{number}"' in text for number in (1, 2, 3)] == [True] * 3
    assert "Re-using existing connection" in text


@pytest.mark.parametrize("policy", [(), ("other.test",)])
async def test_what_is_not_named_is_closed_even_with_nothing_named(policy: tuple[str, ...]) -> None:
    async with box(*policy) as made:
        for url in ("http://up.test/", "https://up.test/", "http://1.1.1.1/", "https://1.1.1.1/"):
            assert "403" in await made.out(f"curl -sS -w '%{{http_code}}' {url}")
            assert (await made.run(f"{DIRECT} curl -sS -m 10 {url}")).exit_code != 0


async def test_without_egress_there_is_no_proxy_and_look_ups_fail_at_once() -> None:
    async with box(mode=EgressMode.DISABLED) as made:
        assert (await made.run("env | grep -i proxy")).exit_code == 1
        result = await made.run("getent hosts up.test; curl -sS http://127.0.0.1:3128/")
        assert result.exit_code == 7
        assert result.duration_ms < 5000


@low_ports
async def test_programs_that_know_no_proxy_reach_an_allowed_host_too(tmp_path: Path) -> None:
    pem, context = certificate(tmp_path, "up.test")
    address = loopback()
    async with (
        upstream(address, 80) as plain,
        upstream(address, 443, context),
        box("up.test", address) as made,
    ):
        made.table.names["up.test"] = [address]
        await made.run("cat > /workspace/ca.pem", stdin=pem.read_bytes())
        curl = f"{DIRECT} curl -sS -m 20 --cacert /workspace/ca.pem"
        assert '"reached": true' in await made.out(f"{curl} http://up.test/plain")
        assert '"reached": true' in await made.out(f"{curl} https://up.test/tls")
        assert '"reached": true' in await made.out("curl -sS --cacert /workspace/ca.pem https://up.test/tls")
        before = plain.connections
        for url in ("http://evil.test/", "https://evil.test/"):
            assert "Could not resolve" in await made.out(f"{curl} {url}")
        evil = "--resolve evil.test:80:127.0.0.1 --resolve evil.test:443:127.0.0.1"
        assert "is denied" in await made.out(f"{curl} {evil} http://evil.test/")
        assert "alert" in await made.out(f"{curl} -k {evil} https://evil.test/")
        assert plain.connections == before
        assert {"evil.test:443", "evil.test"} <= {event.subject for event in made.refusals()}


@low_ports
async def test_the_name_in_a_handshake_must_be_that_of_the_tunnel(tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "up.test")
    address = loopback()
    async with upstream(address, 443, context) as secure, box("up.test", address) as made:
        made.table.names["up.test"] = [address]
        client = (
            "import socket, ssl, sys\n"
            "s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(b'CONNECT up.test:443 HTTP/1.1\\r\\nHost: up.test:443\\r\\n\\r\\n')\n"
            "assert b' 200 ' in s.recv(999)\n"
            "c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
            "t = c.wrap_socket(s, server_hostname=sys.argv[1] or None); print('THROUGH')"
        )
        assert "THROUGH" in await made.out(f'{PYTHON} -c "{client}" up.test')
        for name in ("evil.test", "''"):
            text = await made.out(f'{PYTHON} -c "{client}" {name}')
            assert "THROUGH" not in text
            assert "ALERT" in text
        assert "names 'evil.test'" in made.refusals()[0].detail
        assert len(secure.asked) == 0


async def test_git_and_pip_use_the_proxy(sandbox: Box, web: Upstream) -> None:
    assert "403" in await sandbox.out("git clone https://evil.test/x.git")
    text = await sandbox.out(f"git clone http://up.test:{web.port}/x.git")
    assert web.asked[-1].target == b"/x.git/info/refs?service=git-upload-pack", text
    index = f"-i http://up.test:{web.port}/simple --trusted-host up.test"
    await sandbox.out(f"{PYTHON} -m pip download {index} --no-deps nothing")
    assert web.asked[-1].target == b"/simple/nothing/"
    await sandbox.out(f"{PYTHON} -m pip download --retries 0 -i https://evil.test/simple nothing")
    assert sandbox.refusals()[-1].subject == "evil.test:443"


async def test_a_name_that_leads_elsewhere_the_second_time_is_refused(sandbox: Box, web: Upstream) -> None:
    async with upstream(loopback(), web.port) as private:
        sandbox.table.names["up.test"] = [web.address, private.address, f"{private.address},{web.address}"]
        url = f"http://up.test:{web.port}/"
        assert "reached" in await sandbox.out(f"curl -sS {url}")
        assert f"{private.address} is a loopback address and no rule names it" in await sandbox.out(
            f"curl -sS {url}"
        )
        assert "reached" in await sandbox.out(f"curl -sS {url}")
        assert private.connections == 0


async def test_open_reaches_no_private_address_unless_named(web: Upstream) -> None:
    async with box(mode=EgressMode.OPEN) as made:
        made.table.names["any.test"] = [web.address]
        assert "is a loopback address" in await made.out(f"curl -sS http://any.test:{web.port}/")
        assert "is a loopback address" in await made.out(
            f"curl -sS --noproxy '' http://{web.address}:{web.port}/"
        )
        await made.allow(f"{web.address}:{web.port}", mode=EgressMode.OPEN)
        assert "reached" in await made.out(f"curl -sS http://any.test:{web.port}/")


@pytest.mark.parametrize("way", ["", "-p"])
async def test_a_changed_policy_ends_what_it_does_not_allow(sandbox: Box, web: Upstream, way: str) -> None:
    other = f"http://{web.address}:{web.port}/endless"
    ended = anyio.Event()

    async def download() -> None:
        await sandbox.run(f"curl -sS {way} http://up.test:{web.port}/endless > first")
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download)
        tasks.start_soon(sandbox.run, f"curl -sS {way} --noproxy '' {other} > second")
        await eventually(lambda: len(web.asked) == 2)
        await sandbox.allow(f"{web.address}:{web.port}")
        with anyio.fail_after(10):
            await ended.wait()
        assert "403" in await sandbox.out(f"curl -sSv {way} http://up.test:{web.port}/")
        assert (await sandbox.run("pgrep -f second")).exit_code == 0
        tasks.cancel_scope.cancel()


async def test_egress_can_be_opened_and_closed_while_a_sandbox_lives(web: Upstream) -> None:
    async with box(mode=EgressMode.DISABLED) as made:
        made.table.names["up.test"] = [web.address]
        url = f"http://up.test:{web.port}/"
        assert "reached" not in await made.out(f"curl -sS {url}")
        await made.allow(f"up.test:{web.port}", f"{web.address}:{web.port}")
        assert made.service.get(OWNER, made.id).enforced.network == "allowlist of 2 by proxy"  # type: ignore[union-attr]
        assert "reached" in await made.out(f"curl -sS {url}")
        await made.allow(mode=EgressMode.DISABLED)
        assert "has no egress" in await made.out(f"curl -sS -x http://127.0.0.1:3128 {url}")
        assert made.service.get(OWNER, made.id).enforced.network == "none"  # type: ignore[union-attr]


async def test_a_command_that_has_taken_the_port_is_told_of() -> None:
    async with box(mode=EgressMode.DISABLED) as made:
        taken = f"{PYTHON} -c \"import socket, time; s = socket.create_server(('127.0.0.1', 3128)); print(1, flush=True); time.sleep(60)\" & read -t 1"
        await made.run(taken)
        with pytest.raises(Conflict, match="3128"):
            await made.allow("up.test")
        await made.run("pkill python3; sleep 0.2")
        await made.allow("up.test")


async def test_a_server_that_does_not_answer_is_told_and_no_hang(sandbox: Box) -> None:
    await sandbox.allow("up.test:9", "127.0.0.1:9", "gone.test")
    sandbox.table.names["up.test"] = ["127.0.0.1"]
    refused = await sandbox.run("curl -sS -w '%{http_code}' http://up.test:9/")
    assert refused.stdout.endswith(b"502")
    assert b"up.test:9 cannot be reached" in refused.stdout
    assert "The name gone.test does not exist" in await sandbox.out("curl -sS http://gone.test/")


async def test_many_idle_connections_do_not_stop_the_server_or_neighbours(
    sandbox: Box, web: Upstream
) -> None:
    hoard = (
        "import socket, time\n"
        "held = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(400)]\n"
        "print('held', flush=True); time.sleep(60)"
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sandbox.service.run, OWNER, sandbox.id, NewCommand(f'{PYTHON} -c "{hoard}"'))
        await eventually(lambda: any(event.subject == "connections" for event in sandbox.refusals()))
        async with box(f"up.test:{web.port}", f"{web.address}:{web.port}") as neighbour:
            neighbour.table.names["up.test"] = [web.address]
            assert "reached" in await neighbour.out(f"curl -sS http://up.test:{web.port}/")
        tasks.cancel_scope.cancel()
    assert "reached" in await sandbox.out(f"curl -sS --retry 5 http://up.test:{web.port}/")


async def test_nothing_is_left_when_a_sandbox_is_deleted(web: Upstream) -> None:
    before = _sockets()
    async with box(f"up.test:{web.port}", f"{web.address}:{web.port}") as made:
        made.table.names["up.test"] = [web.address]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                made.service.run, OWNER, made.id, NewCommand(f"curl -sS http://up.test:{web.port}/endless")
            )
            await eventually(lambda: web.asked)
            tasks.cancel_scope.cancel()
        await made.service.delete(OWNER, made.id)
    await eventually(lambda: _sockets() <= before)
    assert _sockets() <= before


def _sockets() -> int:
    return len([fd for fd in Path("/proc/self/fd").iterdir() if "socket" in _target(fd)])


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


def test_the_certificate_of_the_tests_is_one(tmp_path: Path) -> None:
    assert isinstance(certificate(tmp_path, "x.test")[1], ssl.SSLContext)
