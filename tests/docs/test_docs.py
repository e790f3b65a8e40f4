"""Holds the documentation to the code."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from lm_sandbox import errors
from lm_sandbox.app import create_app
from lm_sandbox.config import Settings
from lm_sandbox.errors import LmSandboxError

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/api.md").read_text()
SETTINGS = (ROOT / "docs/settings.md").read_text()
README = (ROOT / "README.md").read_text()


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            names += setting_names(type(field.default), f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


@pytest.mark.parametrize("name", setting_names(Settings))
def test_every_setting_is_documented(name: str) -> None:
    variable = "LM_SANDBOX_" + name.upper().replace(".", "__")
    assert f"| `{name}` | `{variable}` |" in SETTINGS


def test_every_route_is_documented(settings: Settings) -> None:
    for path, methods in create_app(settings).openapi()["paths"].items():
        for method in methods:
            assert f"| `{method.upper()} {path}` |" in API


def test_every_error_code_is_documented() -> None:
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LmSandboxError)
    ]
    codes = {kind.code for kind in found if kind is not LmSandboxError}
    assert len(codes) > 10
    for code in codes:
        assert f"`{code}`" in API


@pytest.mark.parametrize("command", ["make run", "make test", "make serve"])
def test_the_readme_says_the_commands(command: str) -> None:
    assert command in README
