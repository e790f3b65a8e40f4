"""Hands a request to the engine as it is and its answer back byte for byte."""

from contextlib import AsyncExitStack

import anyio
from fastapi import Request, Response

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.client import Forwarded
from lm_sandbox.models.passing_tokens import PassingTokens
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.errors import failure_of
from lm_sandbox.surfaces.openai.errors import error_body
from lm_sandbox.surfaces.streams import EventStream, PushResponse, Write, sse, while_connected

EVENTS = "text/event-stream"


async def pass_through(
    request: Request, deps: Services, model: str, path: str, caller: Principal
) -> Response:
    """Answers with what the engine of this model answers; callers take turns.

    Raises:
        ModelNotFound, ModelFailed: there is no such model, or it cannot be loaded.
        NoCapacity: too many wait for it.
        EngineUnavailable: the engine does not answer.
        UpstreamError: it failed.
        QuotaReached: the caller has as many answers coming, or has taken as many tokens, as it may.
    """
    body = await request.body()
    tokens = PassingTokens(len(body))
    await deps.shares.check_tokens(caller)

    async def begin() -> tuple[Forwarded, AsyncExitStack]:
        async with AsyncExitStack() as exits:
            exits.enter_context(deps.shares.run(caller))
            lease = await exits.enter_async_context(deps.models.lease(model, caller.id))
            answer = await exits.enter_async_context(deps.chat.forward(lease, path, body))
            return answer, exits.pop_all()

    answer, held = await while_connected(request, begin)

    async def produce(write: Write) -> None:
        try:
            async with held:
                async for piece in answer.pieces:
                    tokens.see(piece)
                    await write(piece)
        except LmSandboxError as error:
            if not answer.content_type.startswith(EVENTS):
                raise  # A body that ends too early is all that can be told now.
            await write(sse(error_body(failure_of(error))))
        finally:
            with anyio.CancelScope(shield=True):
                await deps.shares.charge_tokens(caller, tokens.count())

    kind = EventStream if answer.content_type.startswith(EVENTS) else PushResponse
    return kind(produce, media_type=answer.content_type, status_code=answer.status)
