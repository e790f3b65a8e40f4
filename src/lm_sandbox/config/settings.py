"""Every setting, in one frozen tree.

Sources, the later wins: `lm-sandbox.toml`, `.env`, `LM_SANDBOX_*` variables (`__` between levels),
command line flags. A component is handed its own subtree only.
"""

from pathlib import Path
from typing import Any, Self

import platformdirs
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lm_sandbox.config.access import (
    IssuerName,
    LimitSettings,
    OidcSettings,
    PasswordSettings,
    QuotaSettings,
    TokenSettings,
)
from lm_sandbox.config.agent import AgentSettings
from lm_sandbox.config.insight import AuditSettings, LogSettings, MetricsSettings, TraceSettings
from lm_sandbox.config.models import EngineName, EngineSettings, LlamaCppSettings, UpstreamSettings
from lm_sandbox.config.sandboxes import DockerSettings, SandboxSettings
from lm_sandbox.config.section import Positive


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
    api_key_file: Path | None = Field(None, description="a file that holds it, such as a mounted secret")
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
    traces: TraceSettings = TraceSettings()
    limits: LimitSettings = LimitSettings()
    quotas: QuotaSettings = QuotaSettings()
    passwords: PasswordSettings = PasswordSettings()
    tokens: TokenSettings = TokenSettings()
    oidc: dict[IssuerName, OidcSettings] = Field({}, description="issuers whose tokens count here, by name")

    @model_validator(mode="before")
    @classmethod
    def _reads_its_key(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The key in the file is the key, so that nothing else needs to know where it came from."""
        path = given.get("api_key_file")
        if path is None:
            return given
        if given.get("api_key") is not None:
            raise ValueError("api_key and api_key_file exclude each other")
        try:
            return {**given, "api_key": Path(path).expanduser().read_text().strip()}
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError("the file in api_key_file cannot be read") from error

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
