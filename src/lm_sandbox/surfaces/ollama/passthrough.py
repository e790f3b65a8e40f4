"""Hands a request to a real Ollama as it is: that knows best what its own options mean."""

import json
from typing import Any

import anyio
from fastapi import Request, Response

from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.client import upstream_error
from lm_sandbox.models.passing_tokens import PassingTokens
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.generation import base_name
from lm_sandbox.surfaces.live import LiveResponse, StreamWire
from lm_sandbox.surfaces.ollama.errors import error_line, ollama_error
from lm_sandbox.surfaces.ollama.keeping import kept
from lm_sandbox.surfaces.ollama.wire import Kept
from lm_sandbox.surfaces.open_body import left_out
from lm_sandbox.surfaces.streams import Write

ENGINE = "ollama"
REFUSED = 400


async def is_ollamas(deps: Services, model: str) -> bool:
    """Whether an Ollama serves this model, and no tool loop is asked for.

    Raises:
        ModelNotFound, ModelFailed, EngineUnavailable: there is no such model, or not now.
    """
    if base_name(model) is not None:
        return False
    engine, _ = await deps.models.resolve(model)
    return engine.name == ENGINE


async def pass_through(asked: Kept, request: Request, caller: Principal, deps: Services) -> Response:
    """Answers with what Ollama answers; but it is told to cut nothing, and only an admin keeps models."""
    keeping = kept(caller, asked.keep_alive)
    body: dict[str, Any] = await request.json()
    if keeping.left_out:
        del body["keep_alive"]
    body = {"truncate": False, **body}
    streamed = body.get("stream") is not False and not request.url.path.startswith("/api/embed")

    sent = json.dumps(body).encode()
    tokens = PassingTokens(len(sent))
    await deps.shares.check_tokens(caller)

    async def produce(write: Write) -> None:
        try:
            with deps.shares.run(caller):
                await forward(write)
        finally:
            with anyio.CancelScope(shield=True):
                await deps.shares.charge_tokens(caller, tokens.count())

    async def forward(write: Write) -> None:
        async with (
            deps.models.lease(asked.model, caller.id) as lease,
            deps.chat.forward(lease, request.url.path, sent) as answer,
        ):
            if answer.status >= REFUSED:
                told = b"".join([piece async for piece in answer.pieces])
                raise upstream_error(answer.status, told, lease)
            async for piece in answer.pieces:
                tokens.see(piece)
                await write(piece)

    kind = "application/x-ndjson" if streamed else "application/json"
    return LiveResponse(produce, StreamWire(kind, ollama_error, error_line), left_out(keeping.left_out))
