"""Ollama's `options`, and what becomes of each."""

from pydantic import Field

from lm_sandbox.errors import NotHonoured
from lm_sandbox.surfaces.open_body import OpenBody

# By the names that OpenAI's or llama.cpp's requests have for them.
_MAPPED = {
    "seed": "seed",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
# What they say where they change nothing.
_REFUSED: dict[str, object] = {
    "tfs_z": 1.0,
    "penalize_newline": True,
    "logits_all": False,
    "vocab_only": False,
    "embedding_only": False,
}


class Options(OpenBody):
    """Parameters of the model.

    Those that say how it is loaded (`num_ctx`, `num_gpu`, `num_thread` ...) are the server's to
    decide: it plans where a model goes, and a prompt that is too long for it is refused, never cut.
    """

    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = Field(None, ge=0, le=2)
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    num_predict: int | None = Field(None, description="below one is without a limit")
    stop: str | list[str] | None = None
    tfs_z: float | None = None
    penalize_newline: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    embedding_only: bool | None = None
    num_keep: int | None = None
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None

    def sampling(self) -> dict[str, object]:
        """Translates those that are for the model.

        Raises:
            NotHonoured: one would change the answer, and nothing here can honour it.
        """
        for name, harmless in _REFUSED.items():
            if getattr(self, name) not in {None, harmless}:
                raise NotHonoured(f"options.{name} is not supported; leave it out.", field=f"options.{name}")
        found = {wire: getattr(self, name) for name, wire in _MAPPED.items()}
        if self.num_predict is not None and self.num_predict > 0:
            found["max_tokens"] = self.num_predict
        found["stop"] = [self.stop] if isinstance(self.stop, str) else self.stop
        return {name: value for name, value in found.items() if value is not None}
