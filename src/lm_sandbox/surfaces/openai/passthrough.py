"""Hands a request to the engine as it is and its answer back byte for byte."""

from contextlib import AsyncExitStack

from fastapi import Request, Response

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.errors import failure_of
from lm_sandbox.surfaces.openai.errors import error_body
from lm_sandbox.surfaces.streams import PushResponse, Write, sse


async def pass_through(request: Request, deps: Services, model: str, path: str) -> Response:
    """Answers with what the engine of this model answers.

    Raises:
        ModelNotFound, ModelFailed: there is no such model, or it cannot be loaded.
        EngineUnavailable: the engine does not answer.
    """
    body = await request.body()
    async with AsyncExitStack() as exits:
        lease = await exits.enter_async_context(deps.models.lease(model))
        answer = await exits.enter_async_context(deps.chat.forward(lease, path, body))
        held = exits.pop_all()

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
