"""`lm-sandbox models`: what can be asked."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from lm_sandbox.app import build_registry
from lm_sandbox.config import Settings
from lm_sandbox.models.registry import public_names


async def list_models(settings: Settings, *, as_json: bool) -> int:
    """Prints every model of every engine that answers."""
    async with build_registry(settings) as registry:
        models = await registry.models()
        default = await registry.default() if models else None
    if as_json:
        print(json.dumps([asdict(model) for model in models]))  # noqa: T201
        return 0
    table = Table("model", "engine", "state", "context", "")
    for name, model in zip(public_names(models), models, strict=True):
        notes = ["default"] * (model == default) + ["demo"] * model.demo
        context = str(model.context_tokens or "")
        table.add_row(name, model.engine, model.reason or model.state.value, context, ", ".join(notes))
    Console(highlight=False).print(table)
    return 0
