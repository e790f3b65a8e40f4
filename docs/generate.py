"""Writes docs/settings.md from the settings themselves. usage: python docs/generate.py."""

from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lm_sandbox.config.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Four sources, the later wins: `lm-sandbox.toml`, `.env`, the environment, flags. In `lm-sandbox.toml` the part before
the dot is a table:

```toml
default_model = "qwen3"

[sandbox]
memory_mib = 2048
```

| setting | variable | default | what it is |
| --- | --- | --- | --- |
"""


def rows(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Returns the rows of the table for a part of the tree."""
    lines: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            lines += rows(type(field.default), f"{prefix}{name}.")
            continue
        value = get_args(field.annotation)[1] if isinstance(field.default, dict) else None
        if value is not None and issubclass(value, BaseModel):
            lines += rows(value, f"{prefix}{name}.NAME.")
            continue
        path = prefix + name if value is None else f"{prefix}{name}.NAME"
        variable = "LM_SANDBOX_" + path.upper().replace(".", "__")
        unset = value is not None or field.default is None or field.default is PydanticUndefined
        default = "" if unset else field.default
        lines.append(f"| `{path}` | `{variable}` | {default} | {field.description} |")
    return lines


def page() -> str:
    """Returns the whole page."""
    return HEAD + "\n".join(rows(Settings)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
