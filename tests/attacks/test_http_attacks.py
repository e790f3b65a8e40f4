"""Attacks on a real server, byte by byte: smuggling, oversized and slow requests, confused paths."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn

from lm_sandbox.app import create_app
from lm_sandbox.cli.patient_http import Connections, patient_http
from lm_sandbox.config.settings import Settings
from lm_sandbox.storage.servers import SERVERS, serving_urls
from lm_sandbox.surfaces.slow_bodies import SlowBodies
from tests.conftest import NOWHERE, Server, lm_sandbox, serving

LIMIT_S = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all that does it no harm; what is refused on purpose does not count."""
    env = {
        **os.environ,
        "LM_SANDBOX_DATA_DIR": str(tmp_path_factory.mktemp("attacked")),
        "LM_SANDBOX_UPSTREAM__OLLAMA_URL": NOWHERE,
        "LM_SANDBOX_UPSTREAM__LMSTUDIO_URL": NOWHERE,
        "LM_SANDBOX_SANDBOX__WARM": "0",
        "LM_SANDBOX_LIMITS__ADDRESS_FAILURES_PER_MINUTE": "0",
    }
    with serving(env) as (_, started):
        yield started


@pytest.fixture(scope="module")
def at(server: Server) -> tuple[str, int]:
    url = httpx.URL(server.url)
    assert url.port is not None
    return url.host, url.port


def say(at: tuple[str, int], *pieces: bytes) -> bytes:
    """Sends bytes as they are, and returns all that comes back until the server closes."""
    with socket.create_connection(at, timeout=LIMIT_S) as sock:
        for piece in pieces:
            sock.sendall(piece)
        told = b""
        while piece := sock.recv(65536):
            told += piece
        return told


def statuses(told: bytes) -> list[int]:
    return [int(line.split()[1]) for line in told.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


CLOSE = "Connection: close"
SMUGGLED = request("/v1/keys")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 6", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 6"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length: +6",),
        ("Content-Length: 0x6",),
        ("Content-Length: 6 6",),
        ("Content-Length: -1",),
        ("X: a\x00b",),
        ("Host: y",),
    ],
)
def test_a_body_whose_end_is_told_in_two_ways_is_refused_with_all_that_follows(
    server: Server, at: tuple[str, int], headers: tuple[str, ...]
) -> None:
    key = f"Authorization: Bearer {server.key}"
    told = say(at, request("/v1/sandboxes", key, *headers, method="POST", body=b"0\r\n\r\n" + SMUGGLED))
    assert statuses(told) == [400]
    assert b"connection: close" in told.lower()


@pytest.mark.parametrize(
    "headers",
    [("Authorization: Bearer guess", "Authorization: Bearer {key}"), ("x-api-key: guess", "x-api-key: {key}"),
     ("Authorization: Bearer {key}", "authorization: Bearer guess")],
)  # fmt: skip
def test_two_keys_in_one_request_are_none(
    server: Server, at: tuple[str, int], headers: tuple[str, ...]
) -> None:
    told = say(at, request("/v1/models", CLOSE, *(header.format(key=server.key) for header in headers)))
    assert statuses(told) == [400]


@pytest.mark.parametrize("number", [101, 5000])
def test_too_many_headers_are_refused(at: tuple[str, int], number: int) -> None:
    told = say(at, request("/healthz", CLOSE, *(f"x-{n}: y" for n in range(number))))
    assert statuses(told) in ([431], [400])


@pytest.mark.parametrize("size", [40_000, 100_000, 1_000_000])
def test_heads_that_are_too_large_are_refused(at: tuple[str, int], size: int) -> None:
    for large in (
        request("/healthz", f"x: {'y' * size}", CLOSE),
        request(f"/{'y' * size}", CLOSE),
        request(f"/healthz?{'y' * size}", CLOSE),
    ):
        try:
            told = say(at, large)
        except ConnectionError:
            continue  # It had heard enough.
        assert statuses(told) in ([431], [400])


# More than the buffers of the kernel hold between the two.
TRAILER_BYTES = 64 * 1024 * 1024
CHUNKED = ("Transfer-Encoding: chunked", "Content-Type: application/json")


def test_what_comes_after_a_body_says_nothing_of_the_request(server: Server, at: tuple[str, int]) -> None:
    trailer = f"2\r\n{{}}\r\n0\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()
    head = request("/v1/sandboxes", *CHUNKED, CLOSE, method="POST")
    # At once: what comes after the refusal would reset the connection, and the answer with it.
    assert statuses(say(at, head + trailer)) == [401]


@pytest.mark.parametrize("field", [b"x: " + b"y" * 100, b"x: y\r\n" * 30])
def test_what_comes_after_a_body_comes_to_an_end(server: Server, at: tuple[str, int], field: bytes) -> None:
    key = f"Authorization: Bearer {server.key}"
    with socket.create_connection(at, timeout=LIMIT_S) as sock:
        sock.sendall(request("/v1/sandboxes", *CHUNKED, key, method="POST") + b"2\r\n{}\r\n0\r\n")
        with pytest.raises(ConnectionError):
            sock.sendall(field * (TRAILER_BYTES // len(field)))


def test_a_longest_file_path_still_fits(server: Server, at: tuple[str, int]) -> None:
    path = "/v1/sandboxes/sb_x/files/" + "/".join(["%C3%A9" * 100] * 20)
    told = say(at, request(path, f"Authorization: Bearer {server.key}", CLOSE))
    assert statuses(told) == [404]


@pytest.mark.parametrize(
    "path",
    [
        "//v1/keys", "/v1//keys", "/v1/keys/", "/v1/./keys", "/healthz/../v1/keys", "/healthz/%2e%2e/v1/keys",
        "/docs/assets/../../v1/keys", "/docs/assets/%2e%2e/%2e%2e/v1/keys", "/docs/assets/..%2f..%2fv1%2fkeys",
        "/v1/keys%00", "/v1/keys;x=y", "/V1/KEYS", "/v1/keys?", "/v1%2fkeys", "/v1/keys#x", "\\v1\\keys", "/v1/keys%20",
        "http://x/v1/keys", "/docs/assets/%2fetc%2fpasswd", "/docs/assets/....//....//etc/passwd", "/openapi.json/../v1/keys",
        "/healthz%2f..%2fv1%2fkeys", "/readyz%3f/../v1/keys", "/v1/models/..%2fkeys", "*",
    ],
)  # fmt: skip
def test_no_way_to_write_a_path_gets_in_without_a_key(at: tuple[str, int], path: str) -> None:
    for key in (
        (),
        ("Authorization: Bearer guess",),
        ("X-Original-URL: /healthz", "X-Rewrite-URL: /healthz"),
    ):
        told = say(at, request(path, *key, CLOSE))
        assert statuses(told)[0] in {400, 401, 404, 405, 307}, (path, told)
        assert b"root:" not in told


def test_a_key_in_the_url_is_no_key(server: Server) -> None:
    for name in ("api_key", "key", "token", "access_token", "authorization", "x-api-key"):
        assert httpx.get(f"{server.url}/v1/models", params={name: server.key}).status_code == 401
    url = httpx.URL(server.url).copy_with(username="x", password=server.key)
    assert httpx.get(url.join("/v1/models")).status_code == 401


def test_no_other_page_may_read_answers(server: Server) -> None:
    elsewhere = {"Origin": "https://evil.test"}
    asked = {
        **elsewhere,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    for path in ("/v1/models", "/v1/sandboxes", "/v1/keys", "/healthz", "/docs", "/openapi.json"):
        for answer in (
            httpx.options(server.url + path, headers=asked),
            httpx.get(server.url + path, headers=elsewhere),
            httpx.get(server.url + path, headers={**elsewhere, "Authorization": f"Bearer {server.key}"}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    # A form of another page sends no key, and there is no cookie that would.
    posted = httpx.post(
        server.url + "/run-bash/",
        content='{"cmd": "id"}',
        headers={**elsewhere, "Content-Type": "text/plain"},
    )
    assert posted.status_code == 401
    assert "set-cookie" not in posted.headers


def test_pages_that_are_named_may_call(command_env: dict[str, str]) -> None:
    command_env["LM_SANDBOX_ALLOWED_ORIGINS"] = '["https://tools.example"]'
    with serving(command_env) as (_, server):
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, allowed in (
            ("https://tools.example", True),
            ("https://tools.example.evil.test", False),
            ("null", False),
        ):
            answer = httpx.options(f"{server.url}/v1/sandboxes", headers={**asked, "Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
            refused = httpx.get(f"{server.url}/v1/sandboxes", headers={"Origin": origin})
            assert refused.status_code == 401
            assert ("access-control-allow-origin" in refused.headers) is allowed
            assert "access-control-allow-credentials" not in refused.headers


def test_every_answer_has_the_headers_that_keep_browsers_in_bounds(server: Server) -> None:
    key = {"Authorization": f"Bearer {server.key}"}
    for path, headers in (
        ("/v1/models", key),
        ("/v1/models", {}),
        ("/nowhere", {}),
        ("/healthz", {}),
        ("/v1/keys/self", key),
    ):
        answer = httpx.get(server.url + path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers
    page = httpx.get(server.url + "/docs")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_nobody_can_choose_the_address_that_is_counted(command_env: dict[str, str]) -> None:
    command_env["LM_SANDBOX_LIMITS__ADDRESS_REQUESTS_PER_MINUTE"] = "3"
    with serving(command_env) as (_, server):
        seen = [
            httpx.get(f"{server.url}/v1/models", headers={"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": "1.2.3.4",
                      "Forwarded": f"for=198.51.100.{number}"}).status_code
            for number in range(5)
        ]  # fmt: skip
        assert seen == [401, 401, 401, 429, 429]


def test_a_proxy_that_is_trusted_says_who_calls(command_env: dict[str, str]) -> None:
    command_env["LM_SANDBOX_LIMITS__ADDRESS_REQUESTS_PER_MINUTE"] = "2"
    command_env["LM_SANDBOX_TRUSTED_PROXIES"] = '["127.0.0.1"]'
    with serving(command_env) as (_, server):
        for number, wanted in ((1, 401), (1, 401), (1, 429), (2, 401)):
            # What a caller has put in front itself is not believed: the proxy's own entry is the last.
            forwarded = {"X-Forwarded-For": f"203.0.113.99, 198.51.100.{number}"}
            assert httpx.get(f"{server.url}/v1/models", headers=forwarded).status_code == wanted


def test_keys_are_in_no_log(command_env: dict[str, str]) -> None:
    process = subprocess.Popen(
        [lm_sandbox(), "serve", "--port", "0"], env=command_env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    while "Stop with" not in said:
        said += process.stdout.readline()
    data = Path(command_env["LM_SANDBOX_DATA_DIR"])
    [(url, _)] = serving_urls(data / SERVERS)
    own = (data / "api-key").read_text().strip()
    for secret in (own, "lms_a-secret-that-was-mistyped"):
        headers = {"Authorization": f"Bearer {secret}", "x-api-key": secret, "Cookie": f"key={secret}"}
        for path in ("/v1/models", f"/v1/models?api_key={secret}", "/v1/sandboxes/x", "/nowhere"):
            httpx.get(url + path, headers=headers)
        httpx.post(f"{url}/v1/keys", headers=headers, content=b"\xff{" + secret.encode())
        at = httpx.URL(url)
        assert at.port is not None
        say((at.host, at.port), request("/v1/models", f"Authorization: Bearer {secret}", "Content-Length: x"))
    process.terminate()
    logged = process.communicate(timeout=60)[0]
    assert own not in logged
    assert "mistyped" not in logged


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, cert = tmp_path / "tls.key", tmp_path / "tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=sandbox.example", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls_by_file_and_nothing_older_than_1_2(
    command_env: dict[str, str], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    command_env |= {"LM_SANDBOX_TLS_CERT": str(cert), "LM_SANDBOX_TLS_KEY": str(key)}
    with serving(command_env) as (_, server):
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        context.check_hostname = False
        answer = httpx.get(
            f"{server.url}/v1/models", headers={"Authorization": f"Bearer {server.key}"}, verify=context
        )
        assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
        # The command line knows the server by this very certificate.
        listed = subprocess.run(
            [lm_sandbox(), "sandbox", "list"], env=command_env, capture_output=True, text=True, check=False
        )
        assert listed.returncode == 0, listed.stderr
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, httpx.ConnectError)):
            httpx.get(f"{server.url}/healthz", verify=old)


def test_tls_files_that_are_not_there_are_told_without_their_path(command_env: dict[str, str]) -> None:
    command_env |= {"LM_SANDBOX_TLS_CERT": "/nowhere/x.pem", "LM_SANDBOX_TLS_KEY": "/nowhere/x.key"}
    done = subprocess.run(
        [lm_sandbox(), "serve", "--port", "0"], env=command_env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "TLS files cannot be used" in done.stderr
    del command_env["LM_SANDBOX_TLS_KEY"]
    done = subprocess.run(
        [lm_sandbox(), "serve", "--port", "0"], env=command_env, capture_output=True, text=True, check=False
    )
    assert "go together" in done.stderr


class Quick:
    """A server in this process whose patience is short."""

    def __init__(self, settings: Settings, most: int = 0, grace_s: float = 0.3) -> None:
        app = SlowBodies(create_app(settings), grace_s)
        protocol = patient_http(Connections(most), head_s=grace_s)
        config = uvicorn.Config(app, http=protocol, log_level="critical", lifespan="on")
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.at: tuple[str, int] = self.socket.getsockname()


async def open_at(at: tuple[str, int]) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp(*at)


@pytest.fixture
async def quick(settings: Settings) -> Any:  # noqa: ANN401 - an async generator
    quick = Quick(settings, most=5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(quick.server.serve, [quick.socket])
        with anyio.fail_after(LIMIT_S):
            while not quick.server.started:
                await anyio.sleep(0.01)
        yield quick
        quick.server.should_exit = True


async def rest(stream: anyio.abc.SocketStream) -> bytes:
    told = b""
    with anyio.fail_after(LIMIT_S):
        try:
            while True:
                told += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return told


@pytest.mark.anyio
@pytest.mark.parametrize("said", [b"", b"GET /healthz", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_who_does_not_finish_a_head_is_hung_up_on_though_it_says_something_all_the_time(
    quick: Quick, said: bytes
) -> None:
    async with await open_at(quick.at) as stream:
        if said:
            await stream.send(said)
        began = time.monotonic()
        with anyio.fail_after(LIMIT_S):
            try:
                while True:
                    if said:
                        await stream.send(b"a")
                    with anyio.move_on_after(0.02):
                        await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                took = time.monotonic() - began
    assert took > 0.2


@pytest.mark.anyio
async def test_a_second_head_that_does_not_end_is_hung_up_on_too(quick: Quick) -> None:
    async with await open_at(quick.at) as stream:
        await stream.send(request("/healthz") + b"GET /")
        assert statuses(await rest(stream)) == [200]


@pytest.mark.anyio
async def test_who_goes_on_sending_after_a_refusal_is_hung_up_on(quick: Quick) -> None:
    async with await open_at(quick.at) as stream:
        await stream.send(request("/v1/sandboxes", "Content-Length: 100000", method="POST"))
        with anyio.fail_after(LIMIT_S):
            told = await stream.receive()
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                while True:
                    await stream.send(b"a")
                    with anyio.move_on_after(0.02):
                        told += await stream.receive()
    assert statuses(told) == [401]


@pytest.mark.anyio
async def test_a_body_that_comes_too_slowly_is_given_up(quick: Quick) -> None:
    key = "Authorization: Bearer test-key-with-enough-characters"
    head = request("/v1/sandboxes", key, "Content-Length: 100000", method="POST")
    for silent in (True, False):
        async with await open_at(quick.at) as stream:
            await stream.send(head)
            with anyio.fail_after(LIMIT_S):
                told = b""
                while not told:
                    if not silent:
                        await stream.send(b" ")
                    with anyio.move_on_after(0.02):
                        told = await stream.receive()
        assert statuses(told) == [408]


@pytest.mark.anyio
async def test_one_address_cannot_hold_all_connections(quick: Quick) -> None:
    streams = [await open_at(quick.at) for _ in range(5)]
    async with await open_at(quick.at) as stream:
        assert await rest(stream) == b""
    for stream in streams:
        await stream.aclose()
    with anyio.fail_after(LIMIT_S):
        while True:
            async with await open_at(quick.at) as stream:
                try:
                    await stream.send(request("/healthz", "Connection: close"))
                    if statuses(await rest(stream)) == [200]:
                        return
                except anyio.BrokenResourceError:
                    await anyio.sleep(0.01)
