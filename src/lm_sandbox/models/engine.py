"""The seam between models and whatever serves them.

Every engine serves the OpenAI wire format over HTTP, whatever is underneath, so a request that
needs no tool loop is passed through byte for byte. `tests/conformance` holds what every engine must
do.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, Self

from lm_sandbox.models.model_kind import UNKNOWN_KIND, ModelKind
from lm_sandbox.models.placement import Plan
from lm_sandbox.models.use import Use


class ModelState(StrEnum):
    """Where a model is in its life."""

    AVAILABLE = "available"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an engine can serve.

    Attributes:
        name: The name in the engine.
        engine: The engine's name.
        state: Where it is in its life.
        reason: Why it failed or cannot be reached, else an empty string.
        context_tokens: The context one request may use, where the engine tells it.
        size_bytes: The size of its weights, where the engine tells it.
        demo: Whether it is the bundled demo model.
        kind: What sort of model it is, as far as the engine tells.
        modified_at: When it last changed, in UNIX seconds, where the engine tells it.
        unloads_in_s: When it is unloaded if nobody uses it, infinity for never; where it is loaded
            and the engine tells it.
    """

    name: str
    engine: str
    state: ModelState = ModelState.AVAILABLE
    reason: str = ""
    context_tokens: int | None = None
    size_bytes: int | None = None
    demo: bool = False
    kind: ModelKind = UNKNOWN_KIND
    modified_at: float | None = None
    unloads_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A loaded model for the time of one request.

    Attributes:
        base_url: The address to which `/v1/chat/completions` and the like are added.
        headers: What the engine wants on each request; secret, never logged.
        model: The name by which the engine itself knows the model.
        silent_s: How long it may say nothing, in seconds.
        use: Where it is noted how the request went.
        counting: What to add to a streamed request, so that the engine counts tokens as it goes.
    """

    base_url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    # A large model on a slow machine may think about a long prompt for minutes before its first word.
    silent_s: float = 600.0
    counting: Mapping[str, object] = field(default_factory=dict)
    use: Use = field(default_factory=Use, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """What is known of a model.

    Attributes:
        model: The model.
        facts: By name, such as its architecture.
        plan: Where it is, or would be loaded; None where its engine does not tell.
        problem: Why it cannot be loaded, else an empty string.
    """

    model: Model
    facts: Mapping[str, str]
    plan: Plan | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is.

    Attributes:
        status: For people, such as `pulling model.gguf`.
        completed: Bytes of the present file that are here.
        total: Its bytes, 0 where not known.
    """

    status: str
    completed: int = 0
    total: int = 0


Tell = Callable[[PullProgress], Coroutine[Any, Any, None]]


class Engine(Protocol):
    """Serves models."""

    name: str

    async def __aenter__(self) -> Self:
        """Makes ready; loads no model and fails for no model's sake."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Unloads every model and ends every process of the engine."""
        ...

    async def models(self) -> list[Model]:
        """Lists what can be served now, loaded or not, failed ones with their reason.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        ...

    def acquire(
        self, model: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Loads the model if needed and keeps it loaded until the context is left.

        One load serves all who wait for it. `caller` is who asks: callers take turns. With
        `keep_alive_s` it is unloaded when unused for so long from then on; infinity is never, and
        None leaves that as it is. An engine that cannot be told so decides by itself.

        Raises:
            ModelNotFound: the engine has no such model.
            ModelFailed: its file cannot be loaded.
            DoesNotFit: this machine is too small for it.
            NoCapacity: too many wait for it, or those that must make room for it are in use.
            EngineUnavailable: the engine does not answer, or its worker keeps crashing.
        """
        ...

    async def load(self, model: str, keep_alive_s: float | None = None) -> None:
        """Loads a model ahead; unused for `keep_alive_s` it is unloaded, infinity is never.

        Raises:
            As `acquire`.
        """
        ...

    async def unload(self, model: str) -> None:
        """Frees the model's memory once its leases are back; idempotent."""
        ...

    async def show(self, model: str) -> ModelDetail:
        """Tells what is known of a model.

        Raises:
            ModelNotFound: the engine has no such model.
            EngineUnavailable: the engine does not answer.
        """
        ...

    async def pull(self, source: str, tell: Tell) -> None:
        """Gets a model from where the engine gets them; a pull that was broken off goes on.

        Raises:
            Invalid: this is no source.
            Unsupported: the engine gets none.
            UpstreamError: where it gets them there is no such model, or it came damaged.
            EngineUnavailable: the engine does not answer.
        """
        ...

    async def remove(self, model: str) -> None:
        """Deletes a model's files.

        Raises:
            ModelNotFound: the engine has no such model.
            Unsupported: the engine deletes none, or not this one.
            EngineUnavailable: the engine does not answer.
        """
        ...

    async def copy(self, model: str, name: str) -> None:
        """Gives a model a second name, under which it stays when the first is deleted.

        Raises:
            ModelNotFound: the engine has no such model.
            Invalid: this is no name for one.
            Conflict: there is one of that name.
            Unsupported: the engine copies none, or not this one.
            EngineUnavailable: the engine does not answer.
        """
        ...
