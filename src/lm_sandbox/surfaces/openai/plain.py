"""/v1/completions, /v1/embeddings and /v1/rerank: straight to the engine, which needs no tool for them."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.errors import NotHonoured
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.generation import BASH_SUFFIX
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.passthrough import pass_through

ROUTER = APIRouter(prefix="/v1", tags=["openai"], route_class=route_class(openai_error))


class PassedOn(BaseModel):
    """The engine gets all fields; these matter here."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, examples=["nano"])


class CompletionRequest(PassedOn):
    """A text to go on with."""

    prompt: str | list[Any]


class EmbeddingRequest(PassedOn):
    """Texts to turn into vectors."""

    input: str | list[Any]


class RerankRequest(PassedOn):
    """Documents to put in order."""

    query: str
    documents: list[str | dict[str, Any]] = Field(min_length=1)


@ROUTER.post("/completions", response_model=None)
async def completions(body: CompletionRequest, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Goes on with a text, without a chat template."""
    return await _pass(body, request, caller, deps)


@ROUTER.post("/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Turns texts into vectors; the model must be one for it."""
    return await _pass(body, request, caller, deps)


@ROUTER.post("/rerank", response_model=None)
async def rerank(body: RerankRequest, request: Request, caller: ModelCaller, deps: Deps) -> Response:
    """Orders documents by how well they answer a query; the model must be one for it."""
    return await _pass(body, request, caller, deps)


async def _pass(body: PassedOn, request: Request, caller: Principal, deps: Services) -> Response:
    if body.model.endswith(BASH_SUFFIX):
        raise NotHonoured(f"A {BASH_SUFFIX} model chats; name the model without it.", field="model")
    return await pass_through(request, deps, body.model, request.url.path, caller)
