"""Hands a request to the engine as it is and its answer back byte for byte."""

from contextlib import AsyncExitStack

from fastapi import Request, Response

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.models.client import Forwarded
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.errors import failure_of
from lm_sandbox.surfaces.openai.errors import error_body
from lm_sandbox.surfaces.streams import PushResponse, Write, sse, while_connected


async def pass_through(request: Request, deps: Services, model: str, path: str, caller: str = "") -> Response:
    """Answers with what the engine of this model answers; callers take turns.

    Raises:
        ModelNotFound, ModelFailed: there is no such model, or it cannot be loaded.
        NoCapacity: too many wait for it.
        EngineUnavailable: the engine does not answer.
        UpstreamError: it failed.
    """
    body = await request.body()

    async def begin() -> tuple[Forwarded, AsyncExitStack]:
        async with AsyncExitStack() as exits:
            lease = await exits.enter_async_context(deps.models.lease(model, caller))
            answer = await exits.enter_async_context(deps.chat.forward(lease, path, body))
            return answer, exits.pop_all()

    answer, held = await while_connected(request, begin)

    async def produce(write: Write) -> None:
        try:
            async with held:
                async for piece in answer.pieces:
                    await write(piece)
        except LmSandboxError as error:
            if not answer.content_type.startswith("text/event-stream"):
                raise  # A body that ends too early is all that can be told now.
            await write(sse(error_body(failure_of(error))))

    return PushResponse(produce, media_type=answer.content_type, status_code=answer.status)
