"""HTTP and WebSocket to a server inside a sandbox, and egress and models over the API."""

import base64
import json
import time

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lm_sandbox.identity.port_links import PortLinks
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.conftest import KEY, Server

pytestmark = pytest.mark.anyio

ECHO = r"""
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else b""
        while "chunked" in self.headers.get("Transfer-Encoding", ""):
            count = int(self.rfile.readline(), 16); piece = self.rfile.read(count + 2)[:-2]; body += piece
            if not count: break
        if self.path.startswith("/big"):
            self.send_response(200); self.send_header("Content-Length", "20000000"); self.end_headers()
            for _ in range(200): self.wfile.write(bytes(100000))
            return
        said = json.dumps({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": len(body)}).encode()
        self.send_response(302 if self.path == "/move" else 200)
        for pair in (("Content-Length", str(len(said))), ("Set-Cookie", "app=1; Path=/; Domain=evil.test; HttpOnly"),
                     ("Location", "/elsewhere"), ("Clear-Site-Data", '"*"'), ("Strict-Transport-Security", "max-age=9"),
                     ("X-Own", "yes"), ("Content-Security-Policy", "default-src 'none'")): self.send_header(*pair)
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(said)
    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""
SOCKETS = r"""
import base64, hashlib, socket, struct, threading
def serve(c):
    head = b""
    while b"\r\n\r\n" not in head: head += c.recv(999)
    key = [l.split(b": ")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key")][0]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    chosen = b"Sec-WebSocket-Protocol: chat\r\n" if b"chat" in head else b""
    c.sendall(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + chosen + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    def send(text): c.sendall(bytes([0x81, 126]) + struct.pack("!H", len(text)) + text)
    send(head[:60000])
    while True:
        first = c.recv(2)
        if len(first) < 2: return
        size = first[1] & 127
        if size == 126: size, = struct.unpack("!H", c.recv(2))
        mask = c.recv(4); data = b""
        while len(data) < size: data += c.recv(size - len(data))
        plain = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        if first[0] & 15 == 8: c.sendall(bytes([0x88, 2]) + struct.pack("!H", 1000)); return
        if plain == b"leave": c.sendall(bytes([0x88, 2]) + struct.pack("!H", 4242)); return
        send(plain.upper())
s = socket.create_server(("127.0.0.1", 8124))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


async def start(client: httpx.AsyncClient, *programs: str, **more: object) -> str:
    """Makes a sandbox with these programs running in it; returns its path."""
    made = (await client.post("/v1/sandboxes", json=more)).json()
    path = f"/v1/sandboxes/{made['id']}"
    for number, program in enumerate(programs):
        body = {
            "command": f"cat > /tmp/{number}.py; setsid /usr/bin/python3 /tmp/{number}.py >/dev/null 2>&1 &\n"
            "for _ in $(seq 200); do grep -qE ':(1FBB|1FBC) ' /proc/net/tcp && break; sleep 0.02; done",
            "stdin": program,
        }
        assert (await client.post(f"{path}/commands", json=body)).json()["exit_code"] == 0
    return path


async def test_a_server_inside_is_reached(client: httpx.AsyncClient) -> None:
    port = f"{await start(client, ECHO)}/ports/8123"
    told = (await client.get(f"{port}/a%2Fb%20c?d=e%26f")).json()
    assert told["path"] == "/a%2Fb%20c?d=e%26f"
    assert told["headers"]["host"] == "127.0.0.1:8123"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = (await client.request(method, f"{port}/x", content=b"y" * 300_000)).json()
        assert (answer["method"], answer["body"]) == (method, 300_000)
    assert (await client.head(f"{port}/x")).content == b""
    assert len((await client.get(f"{port}/big")).content) == 20_000_000


async def test_nothing_of_the_callers_goes_in_and_nothing_in_our_name_comes_out(
    client: httpx.AsyncClient,
) -> None:
    path = await start(client, ECHO)
    mine = f"{path.removeprefix('/v1/sandboxes/')}-8123-app"
    headers = {
        "x-api-key": KEY, "cookie": f"session=secret; {mine}=1; other=2", "referer": "http://a/", "origin": "http://a",
        "x-forwarded-for": "9.9.9.9", "proxy-authorization": "Basic x", "connection": "close, x-hop", "x-hop": "1", "x-mine": "1",
    }  # fmt: skip
    answer = await client.get(f"{path}/ports/8123/x", headers=headers)
    seen = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert KEY not in answer.text
    assert seen["cookie"] == "app=1"
    assert seen["x-mine"] == "1"
    assert not {"authorization", "x-api-key", "referer", "origin", "x-forwarded-for", "x-hop"} & set(seen)
    assert answer.headers["set-cookie"] == f"{mine}=1; HttpOnly; Path={path}/ports/8123/"
    assert answer.headers["location"] == f"{path}/ports/8123/elsewhere"
    assert answer.headers["x-own"] == "yes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox allow" in answer.headers["content-security-policy"]
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert not {"clear-site-data", "strict-transport-security"} & set(answer.headers)


async def test_ports_answer_with_problems(client: httpx.AsyncClient, services: Services) -> None:
    path = await start(client)
    assert (await client.get(f"{path}/ports/8123/x")).json()["code"] == "unreachable"
    assert (await client.get(f"{path}/ports/0/")).status_code == 422
    assert (await client.get(f"{path}/ports/70000/")).status_code == 422
    assert (await client.get(f"{path}/ports/127.0.0.1:22/")).status_code == 422
    assert (await client.get("/v1/sandboxes/sb_none/ports/80/")).status_code == 404
    assert (await client.get(f"{path}/ports/8123/", headers={"Authorization": ""})).status_code == 401
    other = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    stranger = {"Authorization": f"Bearer {other.token}"}
    assert (await client.get(f"{path}/ports/8123/", headers=stranger)).status_code == 404
    assert (await client.post(f"{path}/port-links", headers=stranger, json={"port": 80})).status_code == 404
    await client.delete(path)
    assert (await client.get(f"{path}/ports/8123/")).status_code == 410


async def test_a_link_needs_no_key_and_opens_one_port_only(client: httpx.AsyncClient) -> None:
    path = await start(client, ECHO)
    made = (await client.post(f"{path}/port-links", json={"port": 8123, "expires_s": 60})).json()
    nobody = {"Authorization": ""}
    assert (await client.get(f"{made['url']}a?b", headers=nobody)).json()["path"] == "/a?b"
    for bad in ("x", "", made["url"].rsplit("/", 2)[1][:-2] + "AA", "a.b", "é.é"):
        answer = await client.get(f"/v1/port-links/{bad}/a", headers=nobody)
        assert answer.status_code in {401, 404}
    assert (await client.get(f"{path}/ports/8123/", headers=nobody)).status_code == 401
    for wrong in ({"port": 0}, {"port": 8123, "expires_s": 1e9}, {"port": 8123, "expires_s": 0}, {}):
        assert (await client.post(f"{path}/port-links", json=wrong)).status_code == 422
    await client.delete(path)
    assert (await client.get(f"{made['url']}a", headers=nobody)).status_code in {404, 410}


def test_a_link_ends_with_its_time_and_cannot_be_bent() -> None:
    now = [time.time()]
    links = PortLinks(now=lambda: now[0])
    token, expires_at = links.sign("anna", "sb_1", 80, 60)
    assert links.read(token).port == 80
    assert links.read(token).principal.scopes == {Scope.SANDBOXES}
    body, _, mac = token.partition(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=="))
    bent = base64.urlsafe_b64encode(json.dumps(content | {"port": 81}).encode()).rstrip(b"=").decode()
    for bad in (f"{bent}.{mac}", f"{body}.", body, f"{body}.{mac[:-4]}AAAA", token + "x" * 2000):
        with pytest.raises(Exception, match="not valid"):
            links.read(bad)
    with pytest.raises(Exception, match="not valid"):
        PortLinks().read(token)
    now[0] = expires_at
    with pytest.raises(Exception, match="not valid"):
        links.read(token)


async def test_a_client_that_goes_away_ends_the_request(server: Server) -> None:
    async with httpx.AsyncClient(
        base_url=server.url, headers={"x-api-key": server.key}, timeout=30
    ) as client:
        path = await start(client, ECHO)
        async with client.stream("GET", f"{path}/ports/8123/big") as answer:
            assert answer.status_code == 200
        assert (await client.get(f"{path}/ports/8123/x")).status_code == 200
        pieces = [b"z" * 100_000] * 30

        async def upload() -> object:
            for piece in pieces:
                yield piece

        sent = await client.post(f"{path}/ports/8123/up", content=upload())  # type: ignore[arg-type]
        assert sent.json()["body"] == 3_000_000


async def test_a_websocket_goes_through_by_key_and_by_link(server: Server) -> None:
    headers = {"x-api-key": server.key}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
        path = await start(client, SOCKETS)
        link = (await client.post(f"{path}/port-links", json={"port": 8124})).json()["url"]
    url = f"ws{server.url.removeprefix('http')}{path}/ports/8124/talk?a=b"
    for address, own in ((url, headers), (f"ws{link.removeprefix('http')}talk?a=b", {})):
        more = {**own, "Cookie": "session=secret"}
        async with connect(address, additional_headers=more, subprotocols=["chat"], proxy=None) as talk:  # type: ignore[list-item]
            head = str(await talk.recv())
            assert head.startswith("GET /talk?a=b HTTP/1.1")
            assert server.key not in head
            assert "secret" not in head
            assert talk.subprotocol == "chat"
            for text in ("hello", "x" * 60_000):
                await talk.send(text)
                assert await talk.recv() == text.upper()
            await talk.send("leave")
            with pytest.raises(ConnectionClosed) as left:
                await talk.recv()
            assert left.value.rcvd is not None
            assert left.value.rcvd.code == 4242
    for bad, own in ((url, {}), (url.replace("8124", "8125"), headers), (url.replace("8124", "x"), headers)):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(bad, additional_headers=own, proxy=None)
        assert refusal.value.response.status_code in {401, 422, 502}


async def test_egress_is_told_changed_and_its_refusals_listed(client: httpx.AsyncClient) -> None:
    allow = {"mode": "allowlist", "allow": ["pypi.org", "*.npmjs.org:443"]}
    made = (await client.post("/v1/sandboxes", json={"egress": allow})).json()
    path = f"/v1/sandboxes/{made['id']}"
    assert made["enforced"]["network"] == "allowlist of 2 by proxy"
    assert made["egress"] == {**allow, "models": False}
    body = {"command": "curl -sS https://evil.test/; curl -sS http://evil.test/"}
    ran = (await client.post(f"{path}/commands", json=body)).json()
    assert "403" in ran["stderr"]
    assert "none of the 2 rules" in ran["stdout"]
    events = (await client.get(f"{path}/events")).json()["data"]
    assert [event["kind"] for event in events] == ["egress_changed", "egress_denied", "egress_denied"]
    assert events[1]["subject"] == "evil.test:443"
    later = (await client.get(f"{path}/events", params={"after": events[1]["number"]})).json()["data"]
    assert later == events[2:]
    closed = (await client.patch(path, json={"egress": {}})).json()
    assert closed["egress"]["mode"] == "disabled"
    assert closed["enforced"]["network"] == "none"


@pytest.mark.parametrize(
    "egress",
    [
        {"mode": "allowlist", "allow": ["https://pypi.org"]}, {"mode": "disabled", "allow": ["pypi.org"]},
        {"mode": "allowlist", "allow": ["*"]}, {"mode": "none"}, {"allow": ["pypi.org"]}, {"modes": "open"},
        {"mode": "allowlist", "allow": ["a.org"] * 300}, {"mode": "allowlist", "allow": ["a" * 600]},
    ],
)  # fmt: skip
async def test_a_policy_that_cannot_be_is_refused(
    client: httpx.AsyncClient, egress: dict[str, object]
) -> None:
    answer = await client.post("/v1/sandboxes", json={"egress": egress})
    assert answer.status_code == 422
    assert answer.json()["field"].startswith("egress")


async def test_models_are_reached_from_inside_and_nothing_else_of_the_server(
    client: httpx.AsyncClient, services: Services
) -> None:
    path = await start(client, egress={"models": True})
    script = """
        curl -sS -H "Authorization: Bearer $OPENAI_API_KEY" $OPENAI_BASE_URL/models; echo
        curl -sS -H "x-api-key: $OPENAI_API_KEY" --json '{"model": "nano", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}' \
            $OPENAI_BASE_URL/chat/completions; echo
        for p in v1/sandboxes docs openapi.json healthz v1/../v1/sandboxes; do
            curl -sS --path-as-is -o /dev/null -w "$p %{http_code}\n" -H "x-api-key: $OPENAI_API_KEY" http://lm-sandbox.internal/$p; done
        curl -sS -o /dev/null -w "nokey %{http_code}\n" $OPENAI_BASE_URL/models
        curl -sS http://evil.test/
        echo "key=$OPENAI_API_KEY"
    """
    ran = (await client.post(f"{path}/commands", json={"command": script})).json()
    text = ran["stdout"]
    assert '"id":"nano"' in text.replace(" ", "")
    assert '"chat.completion"' in text, ran
    for line in (
        "v1/sandboxes 404",
        "docs 403",
        "openapi.json 403",
        "healthz 403",
        "v1/../v1/sandboxes 404",
        "nokey 401",
    ):
        assert line in text
    assert "this sandbox has no egress" in text
    token = text.rsplit("key=", 1)[1].strip()
    lent = await services.keys.authenticate(token)
    assert lent.scopes == {Scope.MODELS}
    inside = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/v1/sandboxes", headers=inside)).status_code == 403
    await client.delete(path)
    assert (await client.get("/v1/models", headers=inside)).status_code == 401


async def test_a_key_without_models_lends_none(client: httpx.AsyncClient, services: Services) -> None:
    narrow = await services.keys.issue("narrow", frozenset({Scope.SANDBOXES}))
    headers = {"Authorization": f"Bearer {narrow.token}"}
    answer = await client.post("/v1/sandboxes", headers=headers, json={"egress": {"models": True}})
    assert answer.status_code == 403
    assert (await client.get("/v1/sandboxes", headers=headers)).json()["data"] == []


async def test_models_answer_as_a_stream_from_inside(client: httpx.AsyncClient) -> None:
    path = await start(client, egress={"models": True})
    body = json.dumps(
        {"model": "nano", "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
    )
    script = f"curl -sSN -H \"x-api-key: $OPENAI_API_KEY\" --json '{body}' $OPENAI_BASE_URL/chat/completions"
    ran = (await client.post(f"{path}/commands", json={"command": script})).json()
    assert "data: [DONE]" in ran["stdout"]
