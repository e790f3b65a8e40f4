"""Talks to a leased model over the OpenAI wire format."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from lm_sandbox.errors import EngineUnavailable, UpstreamError
from lm_sandbox.models.chat import ChatDelta, ChatMessage
from lm_sandbox.models.chat_stream import ChatStream
from lm_sandbox.models.engine import Lease

CONNECT_S = 5.0
# llama.cpp closes a connection that was idle for 5 s; one that it is about to close is not to be used.
KEPT_S = 2.0
LONGEST_MESSAGE = 2000
LONGEST_ERROR_BYTES = 64 * 1024
# What an engine refuses for our key, or fails at by itself, is not the caller's fault.
PASSED_ON = frozenset({400, 404, 413, 422, 429, 501, 503})
KEY_REFUSED = frozenset({401, 403})
FORWARDED_KINDS = ("application/json", "text/event-stream")


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
    ) -> AsyncIterator[ChatDelta]:
        """Asks for the next message and yields it as it comes.

        The last delta has the finish reason, whole tool calls and the usage.

        Raises:
            UpstreamError: the engine answered with an error, in its own words.
            EngineUnavailable: it does not answer, or broke off.
        """
        request: dict[str, object] = {
            **(sampling or {}),
            "model": lease.model,
            "messages": [_wire(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            request["tools"] = list(tools)
        async with self._post(lease, "/v1/chat/completions", json.dumps(request).encode()) as answer:
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
        headers = {"Content-Type": "application/json", **lease.headers}
        try:
            async with self._client.stream(
                "POST",
                lease.base_url + path,
                content=body,
                headers=headers,
                timeout=httpx.Timeout(lease.silent_s, connect=CONNECT_S),
            ) as answer:
                yield answer
        except httpx.ReadTimeout as error:
            raise EngineUnavailable(
                f"The engine said nothing for {lease.silent_s:g} s; the request was given up."
            ) from error
        except httpx.HTTPError as error:
            raise EngineUnavailable(
                "The engine does not answer or broke off; try again in a moment."
            ) from error


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
    text = str(message or "no message")[:LONGEST_MESSAGE]
    text = _without_secrets(text, lease) if lease is not None else text
    passed_on = status if status in PASSED_ON else 502
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


def _wire(message: ChatMessage) -> dict[str, object]:
    wire: dict[str, object] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _repaired(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _content(message: ChatMessage) -> object:
    if not message.images:
        return message.content or ""
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return [{"type": "text", "text": message.content or ""}, *pictures]


def _repaired(arguments: str) -> str:
    """Broken JSON in an earlier call makes llama.cpp fail on the whole conversation."""
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return json.dumps({"command": arguments})
    return arguments if isinstance(parsed, dict) else json.dumps({"command": arguments})
