"""An engine that runs on its own and speaks the OpenAI wire format: LM Studio, vLLM, llama-server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Self

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from lm_sandbox.errors import EngineUnavailable, Unsupported
from lm_sandbox.identity.queueing import FairQueue
from lm_sandbox.models.engine import Lease, Model, ModelDetail, ModelState, Tell

# An engine that did not answer is asked again after this, then after twice as long, and so on.
FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 60.0
AS_MANY_AS_COME = 1_000_000


class _Row(BaseModel):
    id: str
    max_model_len: int | None = None


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
        silent_s: How long it may say nothing within an answer.
        at_once: How many requests it gets at once; callers take turns for them.
        waiting: How many more wait at most.
    """

    name: str
    base_url: str
    how_to_start: str
    listing_path: str = "/v1/models"
    api_key: SecretStr | None = None
    probe_timeout_s: float = 0.5
    silent_s: float = 600.0
    at_once: int = AS_MANY_AS_COME
    waiting: int = 256


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
        self._opened: httpx.AsyncClient | None = None
        self._down_until = 0.0
        self._failures = 0
        self._queue = FairQueue(upstream.at_once, upstream.waiting, upstream.name)

    async def __aenter__(self) -> Self:
        self._opened = httpx.AsyncClient(
            base_url=self._upstream.base_url,
            headers=self._headers(),
            timeout=self._upstream.probe_timeout_s,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def models(self) -> list[Model]:
        """Lists what the upstream serves.

        Raises:
            EngineUnavailable: it does not answer, or not with a list of models.
        """
        wait_s = self._down_until - self._clock()
        if wait_s > 0:
            raise self._unavailable(wait_s)
        try:
            answer = await self._client.get(self._upstream.listing_path)
            answer.raise_for_status()
            listed = await self._listed(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            wait_s = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0**self._failures)
            self._failures = min(self._failures + 1, 16)
            self._down_until = self._clock() + wait_s
            raise self._unavailable(wait_s) from error
        self._failures = 0
        return listed

    @asynccontextmanager
    async def acquire(
        self, model: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AsyncIterator[Lease]:
        """Hands out the upstream's address when it is the caller's turn; it loads and unloads by itself.

        Raises:
            NoCapacity: too many wait.
        """
        del keep_alive_s
        async with self._queue.turn(caller):
            yield Lease(self._upstream.base_url, model, self._headers(), self._upstream.silent_s)

    async def load(self, model: str, keep_alive_s: float | None = None) -> None:
        """Refuses: the protocol has no call for it.

        Raises:
            Unsupported: always.
        """
        del model, keep_alive_s
        raise Unsupported(f"{self.name} loads and unloads its models by itself.")

    async def unload(self, model: str) -> None:
        """Does nothing: the protocol has no call for it."""

    async def show(self, model: str) -> ModelDetail:
        """Tells what the listing tells.

        Raises:
            EngineUnavailable: it does not answer.
        """
        for found in await self.models():
            if found.name == model:
                return ModelDetail(found, {})
        return ModelDetail(Model(model, self.name), {})

    async def pull(self, source: str, tell: Tell) -> None:
        """Refuses: the protocol has no call for it.

        Raises:
            Unsupported: always.
        """
        del source, tell
        raise Unsupported(f"{self.name} gets its models by itself.")

    async def remove(self, model: str) -> None:
        """Refuses: the protocol has no call for it.

        Raises:
            Unsupported: always.
        """
        del model
        raise Unsupported(f"{self.name} keeps its models by itself.")

    async def copy(self, model: str, name: str) -> None:
        """Refuses likewise; raises as `remove`."""
        del name
        await self.remove(model)

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            raise RuntimeError("the engine is used outside its context")
        return self._opened

    async def _listed(self, body: bytes) -> list[Model]:
        rows = _Listing.model_validate_json(body).data
        return [
            Model(row.id, self.name, ModelState.AVAILABLE, context_tokens=row.max_model_len) for row in rows
        ]

    def _headers(self) -> dict[str, str]:
        key = self._upstream.api_key
        return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    def _unavailable(self, wait_s: float = FIRST_BACK_OFF_S) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self.name} does not answer. {self._upstream.how_to_start}", retry_after_s=max(1, round(wait_s))
        )
