"""Engines of the settings."""

from pydantic import SecretStr

from lm_sandbox.config.models import EngineSettings
from lm_sandbox.errors import Invalid
from lm_sandbox.models.engines.openai import AS_MANY_AS_COME, Upstream

# It may be far away.
PROBE_S = 5.0
HOW_TO_START = "Look whether it runs, and at its base_url and key in the settings."
BUILT_IN = frozenset({"llamacpp", "ollama", "lmstudio"})


def upstream_of(name: str, engine: EngineSettings) -> Upstream:
    """Tells where a configured engine is, with its key.

    Raises:
        Invalid: the name is taken, or its key cannot be read.
    """
    if name in BUILT_IN:
        raise Invalid(f"An engine cannot be named {name!r}: there is one.", field=f"engines.{name}")
    base_url = engine.base_url.rstrip("/").removesuffix("/v1")
    return Upstream(
        name=name,
        base_url=base_url,
        how_to_start=HOW_TO_START,
        api_key=_key(name, engine),
        probe_timeout_s=PROBE_S,
        silent_s=engine.timeout_s,
        at_once=engine.parallel or AS_MANY_AS_COME,
        waiting=engine.queue,
    )


def _key(name: str, engine: EngineSettings) -> SecretStr | None:
    if engine.api_key_file is None:
        return engine.api_key
    try:
        return SecretStr(engine.api_key_file.expanduser().read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"The key of the engine {name!r} cannot be read from its api_key_file.",
            field=f"engines.{name}.api_key_file",
        ) from error
