"""Every model of every engine, by name."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

import anyio

from lm_sandbox.errors import EngineUnavailable, ModelFailed, ModelNotFound
from lm_sandbox.models.engine import Engine, Lease, Model, ModelState

# A model that only embeds cannot answer; its name is all that every engine tells of it.
EMBEDDING_MARKS = ("embed", "bge-", "rerank", "minilm")


class ModelRegistry:
    """Finds models by name, whatever serves them.

    A name that two engines share is written `engine/name`; that form is always understood.

    Args:
        engines: In the order in which they are preferred for the default model.
        default: The name of the default model, where the user has set one.
    """

    def __init__(self, engines: Sequence[Engine], default: str | None = None) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._default = default
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            for engine in self._engines.values():
                await exits.enter_async_context(engine)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def models(self) -> list[Model]:
        """Lists the models of every engine that answers, in the order of the engines."""
        found: dict[str, list[Model]] = {}

        async def look(engine: Engine) -> None:
            try:
                found[engine.name] = await engine.models()
            except EngineUnavailable:
                found[engine.name] = []

        async with anyio.create_task_group() as tasks:
            for engine in self._engines.values():
                tasks.start_soon(look, engine)
        return [model for name in self._engines for model in found[name]]

    async def names(self) -> list[str]:
        """Lists the names that callers use."""
        return public_names(await self.models())

    async def resolve(self, name: str) -> tuple[Engine, Model]:
        """Finds a model that can be served.

        Raises:
            ModelNotFound: no engine that answers has it.
            ModelFailed: its file cannot be loaded.
        """
        models = await self.models()
        for public, model in zip(public_names(models), models, strict=True):
            if name in {public, f"{model.engine}/{model.name}"}:
                if model.state is ModelState.FAILED:
                    raise ModelFailed(f"The model {name!r} cannot be loaded. {model.reason}")
                return self._engines[model.engine], model
        raise ModelNotFound(name, public_names(models))

    async def default(self) -> Model:
        """Returns the model to use where none is named: the user's, else the first real one.

        Raises:
            ModelNotFound: there is no model at all, or not the one that the user set.
        """
        if self._default is not None:
            return (await self.resolve(self._default))[1]
        models = [m for m in await self.models() if m.state is not ModelState.FAILED]
        for model in models:
            if not model.demo and not any(mark in model.name.lower() for mark in EMBEDDING_MARKS):
                return model
        for model in models:
            if model.demo:
                return model
        raise ModelNotFound("default", public_names(models))

    def engine(self, name: str) -> Engine:
        """Returns an engine by its name."""
        return self._engines[name]

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Lease]:
        """Keeps a model loaded until the context is left.

        Raises:
            ModelNotFound, ModelFailed: it cannot be served.
            EngineUnavailable: its engine does not answer.
        """
        engine, model = await self.resolve(name)
        async with engine.acquire(model.name) as lease:
            yield lease


def public_names(models: Sequence[Model]) -> list[str]:
    """Names each model; those that share a name also by their engine."""
    counts = Counter(model.name for model in models)
    return [model.name if counts[model.name] == 1 else f"{model.engine}/{model.name}" for model in models]
