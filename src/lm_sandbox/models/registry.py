"""Every model of every engine, by name."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Self

import anyio

from lm_sandbox.errors import EngineUnavailable, ModelFailed, ModelNotFound, NotFound
from lm_sandbox.models.engine import Engine, Lease, Model, ModelState
from lm_sandbox.models.use import Uses
from lm_sandbox.telemetry.happenings import Tell, unheard

# A model that only embeds cannot answer; its name is all that every engine tells of it.
EMBEDDING_MARKS = ("embed", "bge-", "rerank", "minilm")
# A name that was listed so lately is not looked up again for a request.
LISTED_S = 1.0
# Ollama's clients write a name without a tag with or without this one.
LATEST = ":latest"


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine stands.

    Attributes:
        name: The engine's.
        problem: Why it does not answer and what to do, else an empty string.
        models: What it serves; of one that does not answer, what it served when it last did.
    """

    name: str
    problem: str
    models: tuple[Model, ...]


class ModelRegistry:
    """Finds models by name, whatever serves them.

    A name that two engines share is written `engine/name`; that form is always understood.

    Attributes:
        uses: Who waits for a model, and who has one.

    Args:
        engines: In the order in which they are preferred for the default model.
        default: The name of the default model, where the user has set one.
        tell: Hears of every use of a model.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        default: str | None = None,
        *,
        tell: Tell = unheard,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._default = default
        self.uses = Uses(tell)
        self._clock = clock
        self._last: dict[str, tuple[Model, ...]] = {}
        self._listed: list[Model] = []
        self._listed_at = float("-inf")
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            for engine in self._engines.values():
                await exits.enter_async_context(engine)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def engines(self) -> list[EngineState]:
        """Asks every engine how it stands, in the order of the engines."""
        found: dict[str, EngineState] = {}

        async def look(engine: Engine) -> None:
            found[engine.name] = await self._look(engine)

        async with anyio.create_task_group() as tasks:
            for engine in self._engines.values():
                tasks.start_soon(look, engine)
        return [found[name] for name in self._engines]

    async def models(self) -> list[Model]:
        """Lists the models of every engine; those of one that is down since are marked unreachable."""
        self._listed = [model for engine in await self.engines() for model in engine.models]
        self._listed_at = self._clock()
        return self._listed

    async def names(self) -> list[str]:
        """Lists the names that callers use."""
        return public_names(await self.models())

    async def resolve(self, name: str) -> tuple[Engine, Model]:
        """Finds a model that can be served.

        Raises:
            ModelNotFound: no engine has it.
            ModelFailed: its file cannot be loaded.
            EngineUnavailable: its engine does not answer.
        """
        if self._clock() - self._listed_at < LISTED_S:
            model = _named(name, self._listed)
            if model is not None and model.state not in _UNUSABLE:
                return self._engines[model.engine], model
        models = await self.models()
        model = _named(name, models)
        if model is None:
            raise ModelNotFound(name, public_names(models))
        if model.state is ModelState.FAILED:
            raise ModelFailed(f"The model {name!r} cannot be loaded. {model.reason}")
        if model.state is ModelState.UNREACHABLE:
            raise EngineUnavailable(model.reason)
        return self._engines[model.engine], model

    async def default(self) -> Model:
        """Returns the model to use where none is named: the user's, else the first real one.

        Raises:
            ModelNotFound: there is no model at all, or not the one that the user set.
        """
        if self._default is not None:
            return (await self.resolve(self._default))[1]
        models = [m for m in await self.models() if m.state not in _UNUSABLE]
        for model in models:
            if not model.demo and not any(mark in model.name.lower() for mark in EMBEDDING_MARKS):
                return model
        for model in models:
            if model.demo:
                return model
        raise ModelNotFound("default", public_names(models))

    def engine(self, name: str) -> Engine:
        """Returns an engine by its name.

        Raises:
            NotFound: there is none.
        """
        if name not in self._engines:
            raise NotFound(f"There is no engine {name!r}. Engines: {', '.join(self._engines)}.")
        return self._engines[name]

    @asynccontextmanager
    async def lease(
        self, name: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AsyncIterator[Lease]:
        """Keeps a model loaded until the context is left; callers take turns.

        `keep_alive_s` says how long it then stays, where its engine can be told so.

        Raises:
            ModelNotFound, ModelFailed: it cannot be served.
            NoCapacity: not now: too many wait, or there is no room.
            EngineUnavailable: its engine does not answer.
        """
        engine, model = await self.resolve(name)
        with self.uses.use(engine.name, model.name, caller, _purpose(model)) as use:
            async with engine.acquire(model.name, caller, keep_alive_s) as lease:
                self.uses.leased(use, engine.name, model.name)
                yield replace(lease, use=use)

    async def _look(self, engine: Engine) -> EngineState:
        try:
            models = tuple(await engine.models())
        except EngineUnavailable as error:
            gone = [
                replace(model, state=ModelState.UNREACHABLE, reason=error.message)
                for model in self._last.get(engine.name, ())
            ]
            return EngineState(engine.name, error.message, tuple(gone))
        self._last[engine.name] = models
        return EngineState(engine.name, "", models)


_UNUSABLE = frozenset({ModelState.FAILED, ModelState.UNREACHABLE})


def _named(name: str, models: Sequence[Model]) -> Model | None:
    named: dict[str, Model] = {}
    for public, model in zip(public_names(models), models, strict=True):
        for known in (public, f"{model.engine}/{model.name}"):
            named.setdefault(known, model)
    for written in (name, name.removesuffix(LATEST), name + LATEST):
        if written in named:
            return named[written]
    return None


def public_names(models: Sequence[Model]) -> list[str]:
    """Names each model; those that share a name also by their engine."""
    counts = Counter(model.name for model in models)
    return [model.name if counts[model.name] == 1 else f"{model.engine}/{model.name}" for model in models]


def _purpose(model: Model) -> str:
    purposes = {"embedding", "rerank"} & set(model.kind.capabilities)
    return min(purposes) if purposes and "completion" not in model.kind.capabilities else "chat"
