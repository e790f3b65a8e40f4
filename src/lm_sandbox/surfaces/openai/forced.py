"""Chat completions that must call a tool: what the engine answers is looked at before it is passed on."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import Usage
from lm_sandbox.models.chat_stream import usage_of
from lm_sandbox.models.client import upstream_error
from lm_sandbox.models.engine import Lease
from lm_sandbox.models.forcing import Forced
from lm_sandbox.models.insisting import CHAT, CUT, Insisting
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.live import LiveResponse, StreamWire
from lm_sandbox.surfaces.openai.errors import error_body, openai_error
from lm_sandbox.surfaces.openai.forced_stream import ForcedStream, called, names_in, written
from lm_sandbox.surfaces.streams import Write, sse, while_connected
from lm_sandbox.surfaces.unforced import UNFORCED, unforced_headers

REFUSED = 400
WIRE = StreamWire(
    media_type="text/event-stream",
    render=openai_error,
    last_words=lambda failure: sse(error_body(failure)),
    heartbeat=b": still at work\n\n",
)


@dataclass(frozen=True, slots=True)
class ForcedChat:
    """A chat completion that must call a tool.

    Attributes:
        wanted: The request as it came.
        forced: The tools of which one must be called.
        caller: Who asks.
        deps: Where models come from.
    """

    wanted: Mapping[str, Any]
    forced: Forced
    caller: Principal
    deps: Services

    async def answer(self, request: Request) -> Response:
        """Answers with a call, or says that there is none; raises as a request that is passed through."""
        await self.deps.shares.check_tokens(self.caller)
        if self.wanted.get("stream"):
            return LiveResponse(self._stream, WIRE)
        told = await while_connected(request, self._whole)
        return JSONResponse(told, headers=unforced_headers(unforced="tool_choice_honoured" in told))

    async def _whole(self) -> dict[str, Any]:
        async with self._lease() as (lease, spent):
            told = dict(await self.deps.chat.ask(lease, CHAT, self.wanted))
            spent.usage = usage_of(told) or Usage()
            choices = told.get("choices")
            first = choices[0] if isinstance(choices, list) and choices else {}
            choice = first if isinstance(first, dict) else {}
            if self.forced.obeyed(names_in(choice.get("message"))):
                return told
            insisting = self._insisting(lease)
            call = None if choice.get("finish_reason") == CUT else await insisting.call()
            spent.usage += insisting.usage
            told["usage"] = written(spent.usage)
            if call is None:
                return {**told, **UNFORCED}
            message = {"role": "assistant", "content": None, "tool_calls": [called(call)]}
            return {**told, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

    async def _stream(self, write: Write) -> None:
        stream = ForcedStream(self.forced)
        async with self._lease() as (lease, spent):
            async with self.deps.chat.forward(lease, CHAT, json.dumps(self.wanted).encode()) as answer:
                if answer.status >= REFUSED:
                    told = b"".join([piece async for piece in answer.pieces])
                    raise upstream_error(answer.status, told, lease)
                async for piece in answer.pieces:
                    for event in stream.feed(piece):
                        await write(event)
            spent.usage = stream.usage
            if not stream.called:
                await self._insist(stream, lease, spent, write)

    async def _insist(self, stream: ForcedStream, lease: Lease, spent: "_Spent", write: Write) -> None:
        insisting = self._insisting(lease)
        call = None if stream.cut else await insisting.call()
        spent.usage += insisting.usage
        told = bool((self.wanted.get("stream_options") or {}).get("include_usage"))
        events = stream.words() if call is None else stream.call(call, spent.usage if told else None)
        for event in events:
            await write(event)

    def _insisting(self, lease: Lease) -> Insisting:
        return Insisting(self.deps.chat.ask, lease, self.wanted, self.forced)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[tuple[Lease, "_Spent"]]:
        """Leases the model, and charges what was taken, however it ends."""
        spent = _Spent()
        try:
            with self.deps.shares.run(self.caller):
                async with self.deps.models.lease(str(self.wanted["model"]), self.caller.id) as lease:
                    yield lease, spent
        finally:
            usage = spent.usage
            with anyio.CancelScope(shield=True):
                await self.deps.shares.charge_tokens(
                    self.caller, usage.prompt_tokens + usage.completion_tokens
                )


@dataclass(slots=True)
class _Spent:
    usage: Usage = field(default_factory=Usage)
