"""Ollama: listed, loaded, pulled and removed by its own API, served over its OpenAI-compatible one.

The API is described in the ollama repository, `docs/api.md`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from lm_sandbox.errors import ModelNotFound, UpstreamError
from lm_sandbox.models.client import upstream_error
from lm_sandbox.models.engine import Lease, Model, ModelDetail, ModelState, PullProgress, Tell
from lm_sandbox.models.engines.openai import AS_MANY_AS_COME, OpenAIEngine, Upstream
from lm_sandbox.models.model_kind import ModelKind

HOW_TO_START = "Start it with 'ollama serve' (https://ollama.com/download), then 'ollama pull MODEL'."
# Loading a large model from a slow disk.
LOAD_S = 600.0
NOT_FOUND = 404


Shape = TypeVar("Shape", bound=BaseModel)


class _Details(BaseModel):
    format: str = ""
    family: str = ""
    parameter_size: str = ""
    quantization_level: str = ""


class _Tag(BaseModel):
    name: str
    size: int | None = None
    details: _Details = _Details()


class _Tags(BaseModel):
    models: list[_Tag]


class _Shown(BaseModel):
    details: _Details = _Details()
    model_info: dict[str, Any] = {}
    capabilities: list[str] = []


class _Step(BaseModel):
    status: str = ""
    completed: int = 0
    total: int = 0
    error: str | None = None


class OllamaEngine(OpenAIEngine):
    """Serves the models of an Ollama.

    Args:
        base_url: Where it listens.
        probe_timeout_s: How long a listing may take.
        api_key: For one that is behind a proxy with keys, or that is another lm-sandbox.
        at_once: How many requests it gets at once.
    """

    def __init__(
        self,
        base_url: str,
        probe_timeout_s: float,
        api_key: SecretStr | None = None,
        at_once: int = AS_MANY_AS_COME,
    ) -> None:
        super().__init__(
            Upstream(
                name="ollama",
                base_url=base_url,
                how_to_start=HOW_TO_START,
                listing_path="/api/tags",
                api_key=api_key,
                probe_timeout_s=probe_timeout_s,
                at_once=at_once,
            )
        )

    @asynccontextmanager
    async def acquire(
        self, model: str, caller: str = "", keep_alive_s: float | None = None
    ) -> AsyncIterator[Lease]:
        """Hands out its address; how long the model stays is told after the request, by a call of its own."""
        async with super().acquire(model, caller) as lease:
            yield lease
        if keep_alive_s is not None:
            await self.load(model, keep_alive_s)

    async def load(self, model: str, keep_alive_s: float | None = None) -> None:
        """Loads a model, as a request without a prompt.

        Raises:
            ModelNotFound: it has no such model.
            UpstreamError, EngineUnavailable: it fails, or does not answer.
        """
        request: dict[str, object] = {"model": model}
        if keep_alive_s is not None:
            request["keep_alive"] = -1 if keep_alive_s == float("inf") else keep_alive_s
        await self._ask("POST", "/api/generate", {**request, "stream": False}, LOAD_S)

    async def unload(self, model: str) -> None:
        """Frees the model's memory, as an empty request that keeps it for no time."""
        with suppress(ModelNotFound):
            await self._ask("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})

    async def show(self, model: str) -> ModelDetail:
        """Tells what Ollama tells of a model.

        Raises:
            ModelNotFound: it has no such model.
            UpstreamError, EngineUnavailable: it fails, or does not answer.
        """
        shown = self._read(_Shown, await self._ask("POST", "/api/show", {"model": model}))
        listed = [found for found in await self.models() if found.name == model]
        architecture = str(shown.model_info.get("general.architecture", ""))
        facts = {
            "architecture": architecture,
            "trained context": str(shown.model_info.get(f"{architecture}.context_length", "")),
            "parameters": shown.details.parameter_size,
            "quantisation": shown.details.quantization_level,
            "capabilities": ", ".join(shown.capabilities),
        }
        facts = {name: value for name, value in facts.items() if value}
        return ModelDetail(listed[0] if listed else Model(model, self.name), facts)

    async def pull(self, source: str, tell: Tell) -> None:
        """Lets Ollama pull a model from its own registry.

        Raises:
            UpstreamError: it cannot; in its own words.
            EngineUnavailable: it does not answer, or broke off.
        """
        request = {"model": source, "stream": True}
        async with self._streamed("/api/pull", request) as answer:
            if answer.is_error:
                raise upstream_error(answer.status_code, await answer.aread())
            status = ""
            async for line in answer.aiter_lines():
                step = self._read(_Step, line.encode())
                if step.error is not None:
                    raise UpstreamError(f"ollama: {step.error}")
                status = step.status
                await tell(PullProgress(status, step.completed, step.total))
        if status != "success":
            raise self._unavailable()

    async def remove(self, model: str) -> None:
        """Lets Ollama delete a model.

        Raises:
            ModelNotFound: it has no such model.
            UpstreamError, EngineUnavailable: it fails, or does not answer.
        """
        await self._ask("DELETE", "/api/delete", {"model": model})

    async def copy(self, model: str, name: str) -> None:
        """Lets Ollama copy a model; raises as `remove`."""
        await self._ask("POST", "/api/copy", {"model": model, "source": model, "destination": name})

    async def _listed(self, body: bytes) -> list[Model]:
        tags = _Tags.model_validate_json(body).models
        running = await self._client.get("/api/ps")
        # What speaks this API without telling what is loaded has models all the same.
        content = running.content if running.is_success else b'{"models": []}'
        loaded = {tag.name for tag in _Tags.model_validate_json(content).models}
        return [
            Model(
                tag.name,
                self.name,
                ModelState.LOADED if tag.name in loaded else ModelState.AVAILABLE,
                size_bytes=tag.size,
                kind=_kind(tag.details),
            )
            for tag in tags
        ]

    async def _ask(self, method: str, path: str, body: object, timeout_s: float | None = None) -> bytes:
        timeout = httpx.Timeout(timeout_s or self._upstream.silent_s, connect=self._upstream.probe_timeout_s)
        try:
            answer = await self._client.request(method, path, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise self._unavailable() from error
        if answer.status_code == NOT_FOUND and isinstance(body, dict):
            known = [model.name for model in await self.models()]
            raise ModelNotFound(str(body.get("model")), known)
        if answer.is_error:
            raise upstream_error(answer.status_code, answer.content)
        return answer.content

    @asynccontextmanager
    async def _streamed(self, path: str, body: object) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(self._upstream.silent_s, connect=self._upstream.probe_timeout_s)
        try:
            async with self._client.stream("POST", path, content=json.dumps(body), timeout=timeout) as answer:
                yield answer
        except httpx.HTTPError as error:
            raise self._unavailable() from error

    def _read(self, shape: type[Shape], body: bytes) -> Shape:
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            raise UpstreamError("ollama answered with something that makes no sense.") from error


def _kind(details: _Details) -> ModelKind:
    return ModelKind(
        format=details.format,
        architecture=details.family,
        parameters=details.parameter_size,
        quantisation=details.quantization_level,
    )
