"""Ollama: listed and unloaded by its own API, served over its OpenAI-compatible one."""

import httpx
from pydantic import BaseModel

from lm_sandbox.models.engines.openai import OpenAIEngine, Upstream

HOW_TO_START = "Start it with 'ollama serve' (https://ollama.com/download), then 'ollama pull MODEL'."


class _Tag(BaseModel):
    name: str


class _Tags(BaseModel):
    models: list[_Tag]


class OllamaEngine(OpenAIEngine):
    """Serves the models of an Ollama.

    Args:
        base_url: Where it listens.
        probe_timeout_s: How long a listing may take.
    """

    def __init__(self, base_url: str, probe_timeout_s: float) -> None:
        super().__init__(
            Upstream(
                name="ollama",
                base_url=base_url,
                how_to_start=HOW_TO_START,
                listing_path="/api/tags",
                probe_timeout_s=probe_timeout_s,
            )
        )

    async def unload(self, model: str) -> None:
        """Frees the model's memory, as an empty request that keeps it for no time."""
        if self._client is None:
            raise RuntimeError("the engine is used outside its context")
        try:
            await self._client.post("/api/generate", json={"model": model, "keep_alive": 0})
        except httpx.HTTPError as error:
            raise self._unavailable() from error

    def _names(self, body: bytes) -> list[str]:
        return [tag.name for tag in _Tags.model_validate_json(body).models]
