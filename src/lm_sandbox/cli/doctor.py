"""`lm-sandbox doctor`: what this host gives, what it lacks, and how to mend it."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from lm_sandbox.app import build_driver, build_registry
from lm_sandbox.config import Settings
from lm_sandbox.models.engine import Model, ModelState
from lm_sandbox.sandboxes.driver import Check


async def examine(settings: Settings, *, as_json: bool) -> int:
    """Prints every check; returns 1 where a required one fails."""
    driver = build_driver(settings.for_one_use())
    checks = driver.checks()
    async with build_registry(settings) as registry:
        models = await registry.models()
    if as_json:
        report = {
            "driver": driver.name,
            "checks": [asdict(check) for check in checks],
            "models": [asdict(model) for model in models],
        }
        print(json.dumps(report))  # noqa: T201
    else:
        _print(driver.name, checks, models)
    return 1 if any(check.required and not check.ok for check in checks) else 0


def _print(driver: str, checks: list[Check], models: list[Model]) -> None:
    console = Console(highlight=False)
    table = Table("", "check", "seen", title=f"Sandboxes ({driver})", title_justify="left")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[red]missing[/]" if check.required else "[yellow]weak[/]"
        table.add_row(mark, check.name, check.detail)
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(f"[bold]{check.name}[/]: {check.fix}", soft_wrap=True)
    rows = Table("model", "engine", "state", title="Models", title_justify="left")
    for model in models:
        failed = model.state is ModelState.FAILED
        rows.add_row(model.name, model.engine, model.reason if failed else model.state.value)
    console.print(rows)
