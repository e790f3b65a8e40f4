"""The seam between models and whatever serves them.

Every engine serves the OpenAI wire format over HTTP, whatever is underneath, so a request that
needs no tool loop is passed through byte for byte. `tests/conformance` holds what every engine must
do.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self


class ModelState(StrEnum):
    """Where a model is in its life."""

    AVAILABLE = "available"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an engine can serve.

    Attributes:
        name: The name in the engine.
        engine: The engine's name.
        state: Where it is in its life.
        reason: Why it failed, else an empty string.
        context_tokens: The context one request may use, where the engine tells it.
        size_bytes: The size of its weights, where the engine tells it.
        demo: Whether it is the bundled demo model.
    """

    name: str
    engine: str
    state: ModelState = ModelState.AVAILABLE
    reason: str = ""
    context_tokens: int | None = None
    size_bytes: int | None = None
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A loaded model for the time of one request.

    Attributes:
        base_url: The address to which `/v1/chat/completions` and the like are added.
        headers: What the engine wants on each request; secret, never logged.
        model: The name by which the engine itself knows the model.
    """

    base_url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


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

    def acquire(self, model: str) -> AbstractAsyncContextManager[Lease]:
        """Loads the model if needed and keeps it loaded until the context is left.

        One load serves all who wait for it.

        Raises:
            ModelNotFound: the engine has no such model.
            ModelFailed: its file cannot be loaded.
            EngineUnavailable: the engine does not answer, or its worker keeps crashing.
        """
        ...

    async def unload(self, model: str) -> None:
        """Frees the model's memory once its leases are back; idempotent."""
        ...
