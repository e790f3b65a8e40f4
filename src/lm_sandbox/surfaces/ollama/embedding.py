"""/api/embed, and /api/embeddings as older clients call it."""

import math
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.errors import UpstreamError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.ollama.errors import ollama_error
from lm_sandbox.surfaces.ollama.keeping import kept
from lm_sandbox.surfaces.ollama.passthrough import is_ollamas, pass_through
from lm_sandbox.surfaces.ollama.wire import EmbeddingsIn, EmbedIn
from lm_sandbox.surfaces.open_body import left_out
from lm_sandbox.surfaces.streams import while_connected

ROUTER = APIRouter(prefix="/api", tags=["ollama"], route_class=route_class(ollama_error))

Vector = list[float]


@ROUTER.post("/embed", response_model=None)
async def embed(body: EmbedIn, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Embeds one text or several; a text that is too long is refused, never cut."""
    if await is_ollamas(deps, body.model):
        return await pass_through(body, request, caller, deps)
    begun = perf_counter_ns()
    told, ready = await _embed(body, body.input or "", request, caller, deps)
    vectors = [shortened(vector, body.dimensions) for vector in vectors_of(told)] if body.input else []
    usage = told.get("usage")
    tokens = usage.get("prompt_tokens", 0) if isinstance(usage, dict) else 0
    content = {
        "model": body.model,
        "embeddings": vectors,
        "total_duration": perf_counter_ns() - begun,
        "load_duration": ready - begun,
        "prompt_eval_count": tokens,
    }
    return JSONResponse(content, headers=_left_out(body, caller))


@ROUTER.post("/embeddings", response_model=None)
async def embed_one(body: EmbeddingsIn, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Embeds one text."""
    if await is_ollamas(deps, body.model):
        return await pass_through(body, request, caller, deps)
    told, _ = await _embed(body, body.prompt, request, caller, deps)
    return JSONResponse({"embedding": vectors_of(told)[0]}, headers=_left_out(body, caller))


def vectors_of(told: Mapping[str, Any]) -> list[Vector]:
    """Reads the vectors out of an engine's answer, in the order of the texts.

    Raises:
        UpstreamError: it makes no sense.
    """
    try:
        rows = sorted(told["data"], key=lambda row: row["index"])
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamError("The engine answered with something that is no list of embeddings.") from error
    if not vectors:
        raise UpstreamError("The engine answered without an embedding.")
    return vectors


def shortened(vector: Sequence[float], dimensions: int | None) -> Vector:
    """Keeps the first dimensions, at length one again, as models that are made for it want it."""
    if dimensions is None or dimensions >= len(vector):
        return list(vector)
    kept_part = vector[:dimensions]
    length = math.hypot(*kept_part)
    return [number / length for number in kept_part] if length else list(kept_part)


async def _embed(
    body: EmbedIn | EmbeddingsIn, texts: str | list[str], request: Request, caller: Principal, deps: Services
) -> tuple[Mapping[str, Any], int]:
    ready = 0

    async def ask() -> Mapping[str, Any]:
        nonlocal ready
        granted = kept(caller, body.keep_alive).granted_s
        with deps.shares.run(caller):
            async with deps.models.lease(body.model, caller.id, granted) as lease:
                ready = perf_counter_ns()
                wanted = {"input": texts, "encoding_format": "float"}
                told = await deps.chat.ask(lease, "/v1/embeddings", wanted)
        await deps.shares.charge_tokens(caller, int((told.get("usage") or {}).get("prompt_tokens") or 0))
        return told

    await deps.shares.check_tokens(caller)
    return await while_connected(request, ask), ready


def _left_out(body: EmbedIn | EmbeddingsIn, caller: Principal) -> dict[str, str]:
    return left_out([*body.unknown(), *kept(caller, body.keep_alive).left_out])
