"""HTTP as it comes in: from programs that know the proxy, and from those that believe to reach a server."""

import re
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import anyio
import h11
import httpx
from anyio.abc import ByteStream

from lm_sandbox.errors import EgressDenied, Invalid, UpstreamError
from lm_sandbox.sandboxes.hosts import Authority, parse_authority
from lm_sandbox.sandboxes.proxying.gate import MODELS_HOST, Gate
from lm_sandbox.sandboxes.proxying.http_wire import ClientSide, ServerSide, end_to_end, framing
from lm_sandbox.sandboxes.proxying.relay import GONE, Resumed, relay, together
from lm_sandbox.sandboxes.proxying.tls_door import TLS_PORT, opening, refuse
from lm_sandbox.sandboxes.proxying.vault import Vault
from lm_sandbox.sandboxes.secrets import put_in, put_into_headers

HTTP_PORT = 80
ABSOLUTE = re.compile(r"(?i:http)://([^/?#]*)([/?][^#]*)?")
DENIED = (b"x-lm-sandbox-egress", b"denied")
LARGEST_MODEL_REQUEST = 16 * 1024 * 1024
MODEL_PATHS = "/v1/"
# What goes to the model API; anything else is nobody's business there.
MODEL_HEADERS = frozenset({b"accept", b"authorization", b"content-type", b"user-agent", b"x-api-key"})


@dataclass(frozen=True, slots=True)
class Inside:
    """Where a tunnel leads to, and whether TLS ends here so that secrets can be put in."""

    target: Authority
    secret: bool = False


class HttpDoor:
    """Takes HTTP connections.

    Args:
        gate: Where they pass.
        models: This server's model API.
        vault: The secrets of the sandbox.
    """

    def __init__(self, gate: Gate, models: httpx.AsyncBaseTransport | None, vault: Vault) -> None:
        self._gate = gate
        self._models = models
        self._vault = vault

    async def serve(self, stream: ByteStream) -> None:
        """Answers the requests of one connection, one after the other."""
        await self._serve(stream, None)

    async def serve_secretly(self, stream: ByteStream, target: Authority) -> None:
        """Answers requests to a host that has secrets, over TLS, which ends here and begins anew.

        Raises:
            EgressDenied: the policy does not allow the host.
            anyio.EndOfStream: the program inside does not trust the proxy, or has gone.
        """
        self._require_allowed(target)
        async with await self._vault.meet_client(stream, target.host) as open_text:
            await self._serve(open_text, Inside(target, secret=True))

    async def _serve(self, stream: ByteStream, inside: Inside | None) -> None:
        client = ClientSide(stream)
        try:
            while (request := await self._next(client)) is not None:
                if not await self._answered(client, request, stream, inside):
                    return
        except (anyio.EndOfStream, *GONE):
            return

    async def _next(self, client: ClientSide) -> h11.Request | None:
        try:
            return await client.request()
        except Invalid as error:
            await self._refuse(client, 400, error.message)
            return None

    async def _answered(
        self, client: ClientSide, request: h11.Request, stream: ByteStream, inside: Inside | None
    ) -> bool:
        """Answers a request, and tells whether another may follow."""
        subject = request.target[:200].decode("ascii", "replace")
        try:
            if request.method == b"CONNECT":
                await self._tunnel(client, request, stream, inside)
                return False
            await self._pass_on(client, request, inside)
        except EgressDenied as error:
            self._gate.note(subject, error.message)
            await self._refuse(client, 403, error.message, DENIED)
        except UpstreamError as error:
            await self._refuse(client, error.status, error.message)
        except Invalid as error:
            await self._refuse(client, 400, error.message)
        else:
            return True
        return False

    async def _refuse(
        self, client: ClientSide, status: int, message: str, *headers: tuple[bytes, bytes]
    ) -> None:
        # Once an answer has begun, all that is left is to break it off.
        if not client.answered:
            await client.answer(status, f"lm-sandbox: {message}\n", headers)

    async def _tunnel(
        self, client: ClientSide, request: h11.Request, stream: ByteStream, inside: Inside | None
    ) -> None:
        if inside is not None:
            raise Invalid("There is no tunnel through a tunnel.")
        target = parse_authority(request.target.decode("ascii", "replace"))
        if target.port == HTTP_PORT:
            self._require_allowed(target)
            await self._serve(Resumed(stream, await client.switch()), Inside(target))
            return
        if self._vault.for_host(target.host):
            await self._tunnel_secretly(client, stream, target)
            return
        async with self._gate.connection(target) as upstream:
            early = await client.switch()
            try:
                await relay(stream, upstream, partial(opening, stream, target, early))
            except (EgressDenied, Invalid) as error:
                self._gate.note(str(target), error.message)
                await refuse(stream)

    async def _tunnel_secretly(self, client: ClientSide, stream: ByteStream, target: Authority) -> None:
        self._require_allowed(target)
        early = await client.switch()
        try:
            hello = await opening(stream, target, early)
            await self.serve_secretly(Resumed(stream, hello), target)
        except (EgressDenied, Invalid) as error:
            self._gate.note(str(target), error.message)
            await refuse(stream)

    def _require_allowed(self, target: Authority) -> None:
        decision = self._gate.policy.decide(target.host, target.port)
        if not decision.allowed and not self._gate.leads_to_models(target.host.text):
            raise EgressDenied(f"Egress to {target} is denied: {decision.reason}.")

    async def _pass_on(self, client: ClientSide, request: h11.Request, inside: Inside | None) -> None:
        target, path = where(request, inside)
        if self._gate.leads_to_models(target.host.text) and target.port == HTTP_PORT:
            await self._ask_models(client, request, path)
            return
        secrets = self._vault.for_host(target.host) if inside is not None and inside.secret else ()
        head = h11.Request(
            method=request.method,
            target=put_in(path.encode(), secrets),
            headers=[
                (b"host", _host_header(target)),
                *put_into_headers(end_to_end(request.headers, without=(b"host", b"expect")), secrets),
                *framing(request.headers),
                (b"connection", b"close"),
            ],
        )
        async with self._gate.connection(target) as upstream, together() as tasks:
            secret = inside is not None and inside.secret
            stream = await self._vault.meet_server(upstream, target) if secret else upstream
            server = ServerSide(stream, str(target))
            tasks.start_soon(server.send, head, client.body())
            answer = await server.response()
            await client.begin(answer.status_code, end_to_end(answer.headers, without=_unframed(answer)))
            async with aclosing(server.body()) as pieces:
                async for piece in pieces:
                    await client.send(piece)
            await client.end()
            tasks.cancel_scope.cancel()

    async def _ask_models(self, client: ClientSide, request: h11.Request, path: str) -> None:
        if self._models is None or not path.startswith(MODEL_PATHS):
            raise EgressDenied(f"Under {MODELS_HOST} there is nothing but {MODEL_PATHS}.")
        body = b""
        async for piece in client.body():
            body += piece
            if len(body) > LARGEST_MODEL_REQUEST:
                raise UpstreamError("The request is too large for the model API.", status=413)
        asked = httpx.Request(
            request.method.decode(),
            f"http://{MODELS_HOST}{path}",
            headers=[pair for pair in request.headers if pair[0] in MODEL_HEADERS],
            content=body,
        )
        answer = await self._models.handle_async_request(asked)
        async with aclosing(answer):
            await client.begin(answer.status_code, end_to_end(answer.headers.raw))
            async for piece in answer.aiter_raw():
                await client.send(piece)
            await client.end()


def where(request: h11.Request, inside: Inside | None) -> tuple[Authority, str]:
    """Returns where a request goes and with which path.

    Args:
        request: Its target is absolute, or only a path.
        inside: Where the tunnel that it came through leads to.

    Raises:
        Invalid: the target is none.
        EgressDenied: the target, the Host header and the tunnel do not agree.
    """
    text = request.target.decode("ascii", "replace")
    named = [value.decode("ascii", "replace") for name, value in request.headers if name == b"host"]
    port = HTTP_PORT if inside is None else inside.target.port
    hosts = [parse_authority(name, port) for name in named]
    match = ABSOLUTE.fullmatch(text)
    if match is not None:
        hosts.append(parse_authority(match[1], HTTP_PORT))
        path = match[2] or "/"
        text = path if path.startswith("/") else f"/{path}"
    elif not text.startswith("/") or "#" in text:
        raise Invalid("Only http:// targets and CONNECT are taken here.")
    if inside is not None:
        hosts.append(inside.target)
    if not hosts:
        raise Invalid("The request names no host.")
    if any(host != hosts[-1] for host in hosts):
        raise EgressDenied(f"The Host header names {hosts[0]}, but the request goes to {hosts[-1]}.")
    return hosts[-1], text


def _host_header(target: Authority) -> bytes:
    return (str(target.host) if target.port in {HTTP_PORT, TLS_PORT} else str(target)).encode()


def _unframed(answer: h11.Response) -> tuple[bytes, ...]:
    """A length beside chunks is not to be believed."""
    chunked = any(name == b"transfer-encoding" for name, _ in answer.headers)
    return (b"content-length",) if chunked else ()
