"""An engine that runs on its own and speaks the OpenAI wire format: LM Studio, vLLM, llama-server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Self

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from lm_sandbox.errors import EngineUnavailable
from lm_sandbox.models.engine import Lease, Model, ModelState

# An engine that did not answer is not asked again so soon.
REMEMBERED_DOWN_S = 5.0


class _Row(BaseModel):
    id: str


class _Listing(BaseModel):
    data: list[_Row]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where an engine is.

    Attributes:
        name: The engine's name here.
        base_url: Without `/v1`.
        how_to_start: A sentence for people, shown when it does not answer.
        listing_path: What lists its models.
        api_key: Sent as a Bearer token.
        probe_timeout_s: How long a listing may take.
    """

    name: str
    base_url: str
    how_to_start: str
    listing_path: str = "/v1/models"
    api_key: SecretStr | None = None
    probe_timeout_s: float = 0.5


class OpenAIEngine:
    """Serves the models of an upstream.

    Args:
        upstream: Where it is.
        clock: Seconds that only go up.
    """

    def __init__(self, upstream: Upstream, *, clock: Callable[[], float] = monotonic) -> None:
        self.name = upstream.name
        self._upstream = upstream
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._down_until = 0.0

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(
            base_url=self._upstream.base_url,
            headers=self._headers(),
            timeout=self._upstream.probe_timeout_s,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def models(self) -> list[Model]:
        """Lists what the upstream serves.

        Raises:
            EngineUnavailable: it does not answer, or not with a list of models.
        """
        if self._clock() < self._down_until:
            raise self._unavailable()
        if self._client is None:
            raise RuntimeError("the engine is used outside its context")
        try:
            answer = await self._client.get(self._upstream.listing_path)
            answer.raise_for_status()
            names = self._names(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            self._down_until = self._clock() + REMEMBERED_DOWN_S
            raise self._unavailable() from error
        return [Model(name, self.name, ModelState.AVAILABLE) for name in names]

    @asynccontextmanager
    async def acquire(self, model: str) -> AsyncIterator[Lease]:
        """Hands out the upstream's address; it loads and unloads by itself."""
        yield Lease(self._upstream.base_url, model, self._headers())

    async def unload(self, model: str) -> None:
        """Does nothing: the protocol has no call for it."""

    def _names(self, body: bytes) -> list[str]:
        return [row.id for row in _Listing.model_validate_json(body).data]

    def _headers(self) -> dict[str, str]:
        key = self._upstream.api_key
        return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self.name} does not answer at {self._upstream.base_url}. {self._upstream.how_to_start}",
            retry_after_s=int(REMEMBERED_DOWN_S),
        )
