"""Insists on a tool that must be called: checks what a model did, and asks it again where it only talked."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from lm_sandbox.errors import UpstreamError
from lm_sandbox.models.chat import ChatDelta, ToolCall, ToolCallPiece, Usage
from lm_sandbox.models.chat_stream import usage_of
from lm_sandbox.models.engine import Lease
from lm_sandbox.models.forcing import Forced, Question, call_in, constrained, name_in

CHAT = "/v1/chat/completions"
CUT = "length"
# What llama.cpp says, and ends an answer with, when a model begins to call a tool that is not there.
MISCALLED = "empty grammar stack"
Ask = Callable[[Lease, str, Mapping[str, object]], Awaitable[Mapping[str, Any]]]


class Insisting:
    """One request whose answer must be a call.

    Args:
        ask: Asks an engine.
        lease: The model.
        request: What it was asked, as a chat completion.
        forced: The tools of which it must call one.

    Attributes:
        usage: What asking again took.
    """

    def __init__(self, ask: Ask, lease: Lease, request: Mapping[str, Any], forced: Forced) -> None:
        self.usage = Usage()
        self._ask = ask
        self._lease = lease
        self._request = request
        self._forced = forced

    async def call(self) -> ToolCall | None:
        """Asks for a call in a way that leaves no choice, once; None where the engine knows none.

        Raises:
            EngineUnavailable: it does not answer.
        """
        try:
            names = list(self._forced.tools)
            name = (
                names[0]
                if len(names) == 1
                else name_in(await self._answer(self._forced.which()), self._forced)
            )
            return None if name is None else call_in(await self._answer(self._forced.how(name)), name)
        except UpstreamError:
            return None  # It takes no schema, or not this one.

    async def watch(self, deltas: AsyncGenerator[ChatDelta, None]) -> AsyncGenerator[ChatDelta, None]:
        """Hands an answer on once it calls; one that does not is put away, and the model asked again.

        Where nothing helps the answer comes as it was, and its last delta is `unforced`.
        """
        held: list[ChatDelta] = []
        called = False
        last = ChatDelta()
        async with aclosing(_until_it_errs(deltas)) as answer:
            async for last in answer:
                if last.finish_reason is not None:
                    break
                if not called and last.call is not None and last.call.name in self._forced.tools:
                    called = True
                    for delta in held:
                        yield delta
                    held = []
                if called or (last.reasoning and not last.content):
                    yield last
                else:
                    held.append(last)
        async for delta in self._end(held, last):
            yield delta

    async def mend(self, deltas: AsyncGenerator[ChatDelta, None]) -> AsyncGenerator[ChatDelta, None]:
        """Hands an answer on; where it ends in a call that the engine does not bear, a call is insisted on.

        Raises:
            UpstreamError: nothing helps, or the engine failed otherwise.
        """
        call = None
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    yield delta
        except UpstreamError as error:
            call = await self.call() if MISCALLED in str(error) else None
            if call is None:
                raise
        if call is not None:
            yield ChatDelta(call=ToolCallPiece(0, call.name, call.arguments))
            yield ChatDelta(tool_calls=(call,), finish_reason="tool_calls", usage=self.usage)

    async def _end(self, held: list[ChatDelta], last: ChatDelta) -> AsyncGenerator[ChatDelta, None]:
        if self._forced.obeyed(call.name for call in last.tool_calls):
            yield last
            return
        call = None if last.finish_reason == CUT else await self.call()
        usage = self.usage + (last.usage or Usage())
        if call is None:
            for delta in held:
                yield delta
            yield replace(last, usage=usage, unforced=True)
            return
        yield ChatDelta(call=ToolCallPiece(0, call.name, call.arguments))
        yield ChatDelta(tool_calls=(call,), finish_reason="tool_calls", usage=usage)

    async def _answer(self, question: Question) -> str:
        told = await self._ask(self._lease, CHAT, constrained(self._request, question))
        self.usage += usage_of(told) or Usage()
        try:
            return str(told["choices"][0]["message"]["content"])
        except (KeyError, IndexError, TypeError) as error:
            raise UpstreamError("The engine answered with something that is no chat completion.") from error


async def _until_it_errs(deltas: AsyncGenerator[ChatDelta, None]) -> AsyncGenerator[ChatDelta, None]:
    """Takes a call that the engine does not bear for an answer without one."""
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                yield delta
    except UpstreamError as error:
        if MISCALLED not in str(error):
            raise
        yield ChatDelta(finish_reason="stop")
