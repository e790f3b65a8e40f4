"""Talks to a leased model over the OpenAI wire format."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

import httpx

from lm_sandbox.errors import ContextTooLong, EngineUnavailable, Unsupported, UpstreamError
from lm_sandbox.models.chat import ChatDelta, ChatMessage
from lm_sandbox.models.chat_stream import ChatStream
from lm_sandbox.models.chat_wire import written
from lm_sandbox.models.engine import Lease
from lm_sandbox.models.forcing import Forced
from lm_sandbox.models.insisting import Insisting

CONNECT_S = 5.0
# llama.cpp closes a connection that was idle for 5 s; one that it is about to close is not to be used.
KEPT_S = 2.0
# It closes some right after a stream, without a word; who uses one that is closed sees it at once.
GIVEN_UP_S = 0.5
TRIES = 4
LONGEST_MESSAGE = 2000
LONGEST_ERROR_BYTES = 64 * 1024
# What an engine refuses for our key, or fails at by itself, is not the caller's fault.
PASSED_ON = frozenset({400, 404, 413, 422, 429, 501, 503})
NOT_FOUND = 404
KEY_REFUSED = frozenset({401, 403})
# llama.cpp says 500 and 501 for what its model was not made for, such as images.
NOT_SUPPORTED = ("not supported", "does not support")
FORWARDED_KINDS = ("application/json", "application/x-ndjson", "text/event-stream")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """An engine's answer while it comes in: its status and type, then its bytes as they are."""

    status: int
    content_type: str
    pieces: AsyncIterator[bytes]


class ChatClient:
    """Sends requests to models; one pool of connections for all of them."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(
            # Answers are handed on as they come, so they must not come compressed.
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=KEPT_S),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def forward(self, lease: Lease, path: str, body: bytes) -> AsyncIterator[Forwarded]:
        """Sends a request as it is, but for the model's name where the engine has another.

        What it refuses of the request is its answer too.

        Raises:
            UpstreamError: the engine failed, in its own words, or answered with something else.
            EngineUnavailable: it does not answer, or broke off.
        """
        async with self._post(lease, path, _renamed(body, lease.model)) as answer:
            kind = _kind(answer)
            pieces = lease.use.watch(answer.aiter_raw())
            if answer.is_error:
                told = await _read_error(answer)
                if answer.status_code not in PASSED_ON or not kind.startswith(FORWARDED_KINDS):
                    raise upstream_error(answer.status_code, told, lease)
                pieces = _once(_without_secrets(told.decode(errors="replace"), lease).encode())
            else:
                _check_kind(kind)
            yield Forwarded(answer.status_code, kind, pieces)

    async def stream_chat(
        self,
        lease: Lease,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Mapping[str, object]] = (),
        sampling: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """Asks for the next message and yields it as it comes.

        The last delta has the finish reason, whole tool calls and the usage. Where a tool must be called it
        is insisted on that.

        Raises:
            UpstreamError: the engine answered with an error, in its own words.
            EngineUnavailable: it does not answer, or broke off.
        """
        request: dict[str, object] = {
            **(sampling or {}),
            "model": lease.model,
            "messages": [written(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            request["tools"] = list(tools)
        answer = self._stream(lease, "/v1/chat/completions", request)
        forced, known = Forced.of(request), Forced.any_of(tools)
        if forced is not None:
            answer = Insisting(self.ask, lease, request, forced).watch(answer)
        elif known is not None:
            answer = Insisting(self.ask, lease, request, known).mend(answer)
        async with aclosing(answer) as deltas:
            async for delta in deltas:
                yield delta

    async def stream_text(
        self, lease: Lease, prompt: str, *, sampling: Mapping[str, object] | None = None
    ) -> AsyncGenerator[ChatDelta, None]:
        """Lets the model go on with a text as it stands, without any template; as `stream_chat`."""
        request = {
            **(sampling or {}),
            "model": lease.model,
            "prompt": prompt,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async for delta in self._stream(lease, "/v1/completions", request):
            yield delta

    async def ask(self, lease: Lease, path: str, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Asks for something that comes as one JSON object.

        Raises:
            UpstreamError: the engine refuses, in its own words, or answered with something else.
            EngineUnavailable: it does not answer, or broke off.
        """
        body = json.dumps({**request, "model": lease.model}).encode()
        async with self._post(lease, path, body) as answer:
            if answer.is_error:
                raise upstream_error(answer.status_code, await _read_error(answer), lease)
            try:
                parsed: Any = json.loads(await answer.aread())
            except ValueError:
                parsed = None
        if not isinstance(parsed, dict):
            raise UpstreamError("The engine answered with something that is no JSON object.")
        return parsed

    async def count_tokens(
        self, lease: Lease, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, object]] = ()
    ) -> int:
        """Counts what a conversation takes, by the model's own template and tokenizer.

        Raises:
            Unsupported: the engine has no calls for that.
            UpstreamError, EngineUnavailable: as `ask`.
        """
        conversation: dict[str, object] = {"messages": [written(message) for message in messages]}
        if tools:
            conversation["tools"] = list(tools)
        try:
            prompt = (await self.ask(lease, "/apply-template", conversation)).get("prompt")
            wanted = {"content": prompt, "add_special": True, "parse_special": True}
            tokens = (await self.ask(lease, "/tokenize", wanted)).get("tokens")
        except UpstreamError as error:
            if error.status != NOT_FOUND:
                raise
            raise Unsupported("The engine of this model does not count tokens ahead.") from error
        if not isinstance(tokens, list):
            raise UpstreamError("The engine answered with something that is no list of tokens.")
        return len(tokens)

    async def _stream(
        self, lease: Lease, path: str, request: Mapping[str, object]
    ) -> AsyncGenerator[ChatDelta, None]:
        async with self._post(lease, path, json.dumps(request).encode()) as answer:
            if answer.is_error:
                raise upstream_error(answer.status_code, await _read_error(answer), lease)
            _check_kind(_kind(answer))
            stream = ChatStream()
            async for line in answer.aiter_lines():
                for delta in stream.feed(line):
                    lease.use.answered()
                    yield delta
            last = stream.end()
            if last.usage is not None:
                lease.use.prompt_tokens = last.usage.prompt_tokens
                lease.use.completion_tokens = last.usage.completion_tokens
            yield last

    @asynccontextmanager
    async def _post(self, lease: Lease, path: str, body: bytes) -> AsyncIterator[httpx.Response]:
        if self._client is None:
            raise RuntimeError("the client is used outside its context")
        request = self._client.build_request(
            "POST",
            lease.base_url + path,
            content=body,
            headers={"Content-Type": "application/json", **lease.headers},
            timeout=httpx.Timeout(lease.silent_s, connect=CONNECT_S),
        )
        try:
            answer = await _sent(self._client, request)
            try:
                yield answer
            finally:
                await answer.aclose()
        except httpx.ReadTimeout as error:
            raise EngineUnavailable(
                f"The engine said nothing for {lease.silent_s:g} s; the request was given up."
            ) from error
        except httpx.HTTPError as error:
            raise EngineUnavailable(
                "The engine does not answer or broke off; try again in a moment."
            ) from error


async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Sends a request, again where its connection was one that the other end had just given up."""
    begun = monotonic()
    for _ in range(TRIES - 1):
        try:
            return await client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if monotonic() - begun > GIVEN_UP_S:
                raise
    return await client.send(request, stream=True)


def upstream_error(status: int, body: bytes, lease: Lease | None = None) -> UpstreamError:
    """Turns an engine's answer into an error with the engine's own message, but not with our secrets."""
    if status in KEY_REFUSED:
        return UpstreamError(f"The engine answered {status}: it refuses the key that is set up for it.")
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        counts = error.get("n_prompt_tokens"), error.get("n_ctx")
        if isinstance(counts[0], int) and isinstance(counts[1], int):
            return ContextTooLong(counts[0], counts[1])
    text = str(message or "no message")[:LONGEST_MESSAGE]
    text = _without_secrets(text, lease) if lease is not None else text
    passed_on = (
        status if status in PASSED_ON else 400 if any(words in text for words in NOT_SUPPORTED) else 502
    )
    return UpstreamError(f"The engine answered {status}: {text}", status=passed_on)


def _without_secrets(text: str, lease: Lease) -> str:
    """Takes out our key and the engine's address, which some servers repeat."""
    secrets = [value.removeprefix("Bearer ") for value in lease.headers.values()]
    for secret in [*secrets, lease.base_url, lease.base_url.partition("://")[2]]:
        text = text.replace(secret, "***") if secret else text
    return text


def _kind(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-type", "application/json"))


def _check_kind(kind: str) -> None:
    if not kind.startswith(FORWARDED_KINDS):
        raise UpstreamError(f"The engine answered with {kind[:100]!r}, which is no JSON.")


async def _read_error(answer: httpx.Response) -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > LONGEST_ERROR_BYTES:
            break
    return body[:LONGEST_ERROR_BYTES]


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _renamed(body: bytes, model: str) -> bytes:
    request: Any = json.loads(body)
    if not isinstance(request, dict) or request.get("model") == model:
        return body
    return json.dumps({**request, "model": model}).encode()
