"""/v1/models: what can be asked, each also with a shell as NAME+bash."""

from fastapi import APIRouter
from pydantic import BaseModel

from lm_sandbox.errors import EngineUnavailable, ModelFailed, ModelNotFound
from lm_sandbox.models.engine import Model
from lm_sandbox.models.registry import public_names
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.generation import BASH_SUFFIX, base_name
from lm_sandbox.surfaces.openai.errors import openai_error

ROUTER = APIRouter(prefix="/v1/models", tags=["openai"], route_class=route_class(openai_error))


class ModelOut(BaseModel):
    """A model; the fields from `state` on are ours."""

    id: str
    object: str = "model"
    # What Anthropic's clients, which ask at the same address, look at.
    type: str = "model"
    display_name: str
    created_at: str = "1970-01-01T00:00:00Z"
    created: int = 0
    owned_by: str
    state: str
    reason: str | None
    context_tokens: int | None
    demo: bool
    default: bool


class ModelList(BaseModel):
    """Every model."""

    object: str = "list"
    data: list[ModelOut]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


@ROUTER.get("")
async def list_models(caller: ModelCaller, deps: Deps) -> ModelList:
    """Lists every model of every engine that answers, and each with `+bash`."""
    del caller
    models = await deps.models.models()
    default = await _default(deps)
    rows = [
        _render(model, name + suffix, default=_is_same(model, default) and not suffix)
        for name, model in zip(public_names(models), models, strict=True)
        for suffix in ("", BASH_SUFFIX)
    ]
    first, last = (rows[0].id, rows[-1].id) if rows else (None, None)
    return ModelList(data=rows, first_id=first, last_id=last)


@ROUTER.get("/{name:path}")
async def get_model(name: str, caller: ModelCaller, deps: Deps) -> ModelOut:
    """Tells about one model."""
    del caller
    _, model = await deps.models.resolve(base_name(name) or name)
    return _render(model, name, default=_is_same(model, await _default(deps)))


async def _default(deps: Services) -> Model | None:
    """The default model; none where the user has named one that is not there or cannot be used now."""
    try:
        return await deps.models.default()
    except (ModelNotFound, ModelFailed, EngineUnavailable):
        return None


def _is_same(model: Model, other: Model | None) -> bool:
    """Whether both are one model, however it stood when each was looked at."""
    return other is not None and (model.engine, model.name) == (other.engine, other.name)


def _render(model: Model, name: str, *, default: bool) -> ModelOut:
    return ModelOut(
        id=name,
        display_name=name,
        owned_by=model.engine,
        state=model.state,
        reason=model.reason or None,
        context_tokens=model.context_tokens,
        demo=model.demo,
        default=default,
    )
