"""Every setting, in one frozen tree.

Sources, the later wins: `lm-sandbox.toml`, `.env`, `LM_SANDBOX_*` variables (`__` between levels),
command line flags. A component is handed its own subtree only.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
ImageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
EngineName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """A frozen part of the tree that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SandboxSettings(Section):
    """Defaults and bounds of sandboxes and commands."""

    driver: Literal["bubblewrap", "docker"] = Field("bubblewrap", description="what makes sandboxes")
    image: str | None = Field(
        None,
        description="what sandboxes start from that name no image; default: the host's own system, read-only "
        "(bubblewrap) or debian:bookworm-slim (docker)",
    )
    images: dict[ImageName, Path] = Field(
        {}, description="a folder with a root file system, for the image of this name"
    )
    images_mib: Positive = Field(20 * 1024, description="disk for all imported images, in MiB")
    cpus: Annotated[float, Field(gt=0)] = Field(2.0, description="CPU cores of one sandbox")
    memory_mib: Positive = Field(1024, description="memory of one sandbox, in MiB")
    pids: Positive = Field(256, description="processes and threads of one sandbox")
    disk_mib: Positive = Field(512, description="bytes a sandbox can write, in MiB")
    require_cgroups: bool = Field(
        True, description="refuse to start where only rlimits could hold memory and processes"
    )
    open_files: Positive = Field(4096, description="descriptors one process may hold")
    warm: int = Field(
        2, ge=0, le=64, description="sandboxes that a server keeps ready, so that making one takes no time"
    )
    max_sandboxes: Positive = Field(256, description="sandboxes alive at once")
    idle_timeout_s: PositiveSeconds = Field(1800.0, description="a sandbox unused for so long is deleted")
    max_idle_timeout_s: PositiveSeconds = Field(
        7 * 86400.0, description="the longest idle time a sandbox may ask for"
    )
    max_age_s: PositiveSeconds | None = Field(
        None, description="a sandbox is deleted so long after it was made; default: never"
    )
    recovery_s: float = Field(
        600.0,
        ge=0,
        description="how long the sandboxes of a killed server wait for another one; 0 ends them with it",
    )
    shells: Positive = Field(32, description="shells that stay in one sandbox")
    command_timeout_s: PositiveSeconds = Field(120.0, description="wall time of a command that names none")
    max_command_timeout_s: PositiveSeconds = Field(
        86400.0, description="the longest wall time a command may ask for"
    )
    max_command_bytes: Positive = Field(
        128 * 1024, description="the longest command text; the kernel takes no longer argument"
    )
    max_output_bytes: Positive = Field(
        1024 * 1024, description="bytes kept of each output stream, half head and half tail"
    )
    output_limit_bytes: Positive = Field(256 * 1024 * 1024, description="a command that writes more is ended")
    spool_mib: Positive = Field(
        512, description="disk for the long outputs of one sandbox's commands, in MiB; the oldest go first"
    )
    max_terminals: Positive = Field(8, description="terminals of one sandbox")
    max_terminal_viewers: Positive = Field(16, description="connections to one terminal at once")
    scroll_back_kib: Positive = Field(
        256, description="output that a terminal keeps for who comes to look, in KiB"
    )
    snapshots_mib: Positive = Field(10 * 1024, description="disk for all snapshots, in MiB")


class DockerSettings(Section):
    """The Docker driver."""

    socket: Path = Field(Path("/var/run/docker.sock"), description="where the Docker engine listens")
    runtime: str | None = Field(
        None, description="what makes containers, such as runc, runsc or kata; default: the engine's"
    )
    cpuset_cpus: str = Field("", description="cores that sandboxes may run on, such as 0-3; default: all")
    gpus: tuple[str, ...] = Field((), description="ids of the GPUs that sandboxes get, or `all`")


KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class ModelSettings(Section):
    """One model of the embedded llama.cpp; what is left out is as for all."""

    source: str | None = Field(
        None, description="a GGUF file, or `hf:owner/repo:quant` for `lm-sandbox models pull`"
    )
    purpose: Literal["chat", "embedding", "rerank"] = Field("chat", description="what it is loaded for")
    context_tokens: Positive | None = Field(None, description="context of one request")
    parallel: Positive | None = Field(None, description="requests it serves at once")
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


class EngineSettings(Section):
    """A server that speaks the OpenAI wire format: vLLM, llama-server, LM Studio elsewhere, a cloud."""

    base_url: str = Field(description="its address, without `/v1`", pattern=r"^https?://[^/\s]+\S*$")
    api_key: SecretStr | None = Field(None, description="sent as a Bearer token")
    api_key_file: Path | None = Field(None, description="a file that holds the key, such as a mounted secret")
    timeout_s: PositiveSeconds = Field(600.0, description="how long it may be silent within an answer")


class AgentSettings(Section):
    """Bounds of one run of the tool loop."""

    max_steps: Positive = Field(12, description="model turns in one run")
    max_commands: Positive = Field(50, description="commands in one run")
    max_wall_s: PositiveSeconds = Field(600.0, description="wall time of one run")
    max_tool_output_chars: Positive = Field(
        16_000, description="characters of one output that the model sees"
    )
    command_timeout_s: PositiveSeconds = Field(60.0, description="wall time of one command")
    conversation_idle_s: PositiveSeconds = Field(
        1800.0, description="how long a conversation that rests keeps its sandbox"
    )
    background_runs: Positive = Field(16, description="runs of one caller in the background at once")
    runs_kept_days: Positive = Field(30, description="how long stored runs are kept")
    uploads_mib: Positive = Field(10_240, description="disk that uploaded files may take together, in MiB")
    upload_mib: Positive = Field(512, description="size of one uploaded file, in MiB")


class AuditSettings(Section):
    """The record of who did what."""

    reads: bool = Field(True, description="whether requests that change nothing are recorded too")
    keep_days: Positive = Field(90, description="days for which records are kept")
    keep_mib: Positive = Field(1024, description="disk for records, in MiB; the oldest go first")
    segment_mib: Positive = Field(64, description="size of one file of records, in MiB")
    checkpoint_records: Positive = Field(1000, description="a signed checkpoint after so many records")
    checkpoint_s: PositiveSeconds = Field(300.0, description="and so long after a record, at the latest")
    max_text_chars: Positive = Field(32 * 1024, description="characters of one command that are recorded")
    redact: tuple[str, ...] = Field(
        (), description="regular expressions of secrets besides the usual ones; a group `keep` stays"
    )


class MetricsAccess(StrEnum):
    """Who may read `/metrics`."""

    KEY = "key"
    LOOPBACK = "loopback"
    OFF = "off"


class MetricsSettings(Section):
    """What Prometheus reads."""

    access: MetricsAccess = Field(
        MetricsAccess.KEY,
        description="who may read `/metrics`: `key` with the scope `metrics`, `loopback` who is on this "
        "machine too, `off` nobody",
    )


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    PRETTY = "pretty"
    JSON = "json"


class LogSettings(Section):
    """What a server logs to its standard error."""

    format: LogFormat = Field(
        LogFormat.AUTO,
        description="`pretty`, `json` (Elastic Common Schema), or `auto`: pretty on a terminal",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is left out below it"
    )


Amount = Annotated[int, Field(ge=0)]


class LimitSettings(Section):
    """How often an address may call, whoever it is."""

    store: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0` counts for several servers together (extra `redis`); "
        "default: each for itself",
    )
    address_requests_per_minute: Amount = Field(
        60_000, description="requests from one address; 0 is no limit"
    )
    address_connections: Amount = Field(1000, description="connections from one address; 0 is no limit")
    address_failures_per_minute: Amount = Field(
        60, description="wrong keys from one address, then none of its keys is looked at; 0 is no limit"
    )


class QuotaSettings(Section):
    """How much each key may take that has no quotas of its own; 0 is no limit."""

    requests_per_minute: Amount = Field(30_000, description="requests")
    tokens_per_minute: Amount = Field(0, description="tokens that models read and wrote")
    sandboxes: Amount = Field(0, description="sandboxes alive at once")
    commands: Amount = Field(0, description="commands at work at once")
    runs: Amount = Field(0, description="answers of models being made at once")
    sandbox_seconds_per_day: Amount = Field(0, description="seconds that its sandboxes were alive, together")
    stored_mib: Amount = Field(0, description="disk for uploaded files and snapshots, in MiB")


class TokenSettings(Section):
    """Access tokens, which `/oauth/token` gives for API keys."""

    issuer: str = Field("lm-sandbox", description="issuer and audience of tokens, such as an address")
    lifetime_s: Positive = Field(600, le=86_400, description="how long a token works")
    key_days: Positive = Field(30, description="how long one key signs them before the next does")


class OwnDotEnv(DotEnvSettingsSource):
    """Reads `.env`, in which other programs' variables may stand too."""

    def __call__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in super().__call__().items()
            if name in self.settings_cls.model_fields
        }


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="LM_SANDBOX_",
        env_nested_delimiter="__",
        env_file=".env",
        toml_file="lm-sandbox.toml",
    )

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("lm-sandbox"),
        description="holds everything that is written; by default the user's own data directory",
    )
    api_key: SecretStr | None = Field(None, description="the first admin key, instead of a new one")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    allowed_origins: tuple[str, ...] = Field(
        (),
        description="web pages from these, such as `https://tools.example`, may call and open terminals",
    )
    tls_cert: Path | None = Field(None, description="a PEM file with the certificates of `https`")
    tls_key: Path | None = Field(None, description="a PEM file with its key; only the server may read it")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks whose `X-Forwarded-For` and `-Proto` are believed"
    )
    default_model: str | None = Field(None, description="the model that `run` and `auto` use")
    max_body_bytes: Positive = Field(16 * 1024 * 1024, description="the largest request body")
    sandbox: SandboxSettings = SandboxSettings()
    docker: DockerSettings = DockerSettings()
    llamacpp: LlamaCppSettings = LlamaCppSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    engines: dict[EngineName, EngineSettings] = Field({}, description="more engines, by name")
    agent: AgentSettings = AgentSettings()
    audit: AuditSettings = AuditSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()
    quotas: QuotaSettings = QuotaSettings()
    tokens: TokenSettings = TokenSettings()

    @model_validator(mode="after")
    def _has_both_of_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self

    def for_one_use(self) -> Self:
        """Returns the same for a program that ends soon, and so keeps nothing ready and nothing for later."""
        return self.model_copy(
            update={"sandbox": self.sandbox.model_copy(update={"warm": 0, "recovery_s": 0.0})}
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings, dotenv_settings
        toml = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, OwnDotEnv(settings_cls), toml
