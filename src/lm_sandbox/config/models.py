"""Settings of engines and their models."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from lm_sandbox.config.section import Positive, PositiveSeconds, Section

EngineName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class ModelSettings(Section):
    """One model of the embedded llama.cpp; what is left out is as for all."""

    source: str | None = Field(
        None, description="a GGUF file, or `hf:owner/repo:quant` for `lm-sandbox models pull`"
    )
    purpose: Literal["chat", "embedding", "rerank"] = Field("chat", description="what it is loaded for")
    context_tokens: Positive | None = Field(None, description="context of one request")
    parallel: Positive | None = Field(None, description="requests it serves at once")
    answer_tokens: Positive | None = Field(
        None, description="length of an answer where a request sets none; nano has 256, others their context"
    )
    gpu_layers: int | None = Field(None, ge=0, description="layers on GPUs, at most")
    kv_type: KvType = Field("f16", description="of the cache; smaller than f16 takes less memory")
    lora: tuple[Path, ...] = Field((), description="LoRA adapters, as GGUF files")
    mmproj: Path | None = Field(None, description="its projector for images, a GGUF file")
    draft: Path | None = Field(None, description="a small model of the same family that guesses ahead")
    pinned: bool = Field(False, description="never unloaded to make room, nor for being idle")
    keep_alive_s: PositiveSeconds | None = Field(None, description="unloaded when unused for so long")


class LlamaCppSettings(Section):
    """The embedded llama.cpp."""

    models_dir: Path | None = Field(
        None, description="GGUF files to serve; default: models/ in the data directory"
    )
    context_tokens: Positive = Field(8192, description="context of a loaded model, at most")
    parallel: Positive = Field(2, description="requests one model serves at once")
    queue: int = Field(256, ge=0, description="requests that wait for one model; more are refused")
    threads: int = Field(0, ge=0, description="threads per model; 0 takes the physical cores")
    gpu_layers: int = Field(-1, ge=-1, description="layers on GPUs, at most; -1 as many as fit")
    memory_mib: Positive | None = Field(
        None, description="host memory of all loaded models, in MiB; default: seven eighths of it"
    )
    idle_unload_s: PositiveSeconds = Field(600.0, description="a model unused for so long is unloaded")
    load_timeout_s: PositiveSeconds = Field(300.0, description="a load that takes longer failed")
    hub_token: SecretStr | None = Field(
        None, description="for repositories of the Hugging Face hub that are not public"
    )
    models: dict[str, ModelSettings] = Field({}, description="settings of single models, by name")


class UpstreamSettings(Section):
    """Engines that run on their own and are found on this machine."""

    ollama_url: str = Field("http://127.0.0.1:11434", description="where Ollama is looked for")
    ollama_api_key: SecretStr | None = Field(None, description="where a proxy in front of Ollama wants one")
    lmstudio_url: str = Field("http://127.0.0.1:1234", description="where LM Studio is looked for")
    probe_timeout_s: PositiveSeconds = Field(0.5, description="how long a look may take")
    parallel: Positive = Field(
        16, description="requests that each of them gets at once; more wait, and callers take turns"
    )


class EngineSettings(Section):
    """A server that speaks the OpenAI wire format: vLLM, llama-server, LM Studio elsewhere, a cloud."""

    base_url: str = Field(description="its address, without `/v1`", pattern=r"^https?://[^/\s]+\S*$")
    api_key: SecretStr | None = Field(None, description="sent as a Bearer token")
    api_key_file: Path | None = Field(None, description="a file that holds the key, such as a mounted secret")
    timeout_s: PositiveSeconds = Field(600.0, description="how long it may be silent within an answer")
    parallel: Positive | None = Field(
        None,
        description="requests that it gets at once; more wait, and callers take turns; "
        "default: as many as come",
    )
    queue: int = Field(256, ge=0, description="requests that wait for it; more are refused")
