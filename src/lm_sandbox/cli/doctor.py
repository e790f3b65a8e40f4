"""`lm-sandbox doctor`: what this host gives, what it lacks, and how to mend it."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import anyio.to_thread
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from lm_sandbox.cli.mending import Mender, run_here, steps_for
from lm_sandbox.cli.program import complain
from lm_sandbox.config.settings import Settings
from lm_sandbox.models.engine import Model, ModelState
from lm_sandbox.models.hardware import Hardware, read_hardware
from lm_sandbox.models.placement import GIB
from lm_sandbox.models.registry import EngineState
from lm_sandbox.parts import build_driver, build_registry
from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.sandboxes.remedies import Step, by_hand

# What one round brings to light the next one mends, such as what a new package is refused.
ROUNDS = 4


async def examine(settings: Settings, *, as_json: bool) -> int:
    """Prints every check; returns 1 where a required one fails."""
    driver = build_driver(settings.for_one_use())
    checks = driver.checks()
    hardware = read_hardware()
    async with build_registry(settings) as registry:
        engines = await registry.engines()
    models = [model for engine in engines for model in engine.models]
    if as_json:
        report = {
            "driver": driver.name,
            "checks": [asdict(check) | {"remedy": [step.shell for step in check.remedy]} for check in checks],
            "hardware": asdict(hardware),
            "engines": {engine.name: engine.problem or "ok" for engine in engines},
            "models": [asdict(model) for model in models],
        }
        print(json.dumps(report))  # noqa: T201
    else:
        _print(driver.name, checks, models)
        _print_hardware(hardware, engines)
    return 1 if any(check.required and not check.ok for check in checks) else 0


async def mend(settings: Settings, *, sure: bool) -> int:
    """Shows what would mend this host, takes those steps, and examines the host again.

    Args:
        settings: Of the server that is to run here.
        sure: Whether nobody is asked first.

    Returns 1 where a step fails or a required check still does, where nobody wants it, or without root.
    """
    driver = build_driver(settings.for_one_use())
    mender, taken = Mender(Path("/"), run_here), list[Step]()
    for _ in range(ROUNDS):
        checks = await anyio.to_thread.run_sync(driver.checks)
        steps = [step for step in steps_for(checks) if step not in taken]
        if not steps:
            break
        if not _agreed(steps, sure=sure):
            return 1
        for step in steps:
            if problem := await anyio.to_thread.run_sync(mender.take, step):
                complain(f"{problem}. The steps before it are done.")
                return 1
        taken += steps
    if not taken:
        Console().print("There is nothing here that this could mend.")
    return await examine(settings, as_json=False)


def _agreed(steps: Sequence[Step], *, sure: bool) -> bool:
    console = Console(highlight=False, markup=False)
    if os.geteuid() != 0:
        complain("Only root can mend this host. Run this as root, or type:")
        console.print(by_hand(tuple(steps)), soft_wrap=True)
        return False
    for step in steps:
        console.print(f"# {step.shell}", soft_wrap=True)
    if sure:
        return True
    try:
        return Confirm.ask("Do this?", console=console, default=False)
    except EOFError:
        complain("Nobody is there to ask; --yes takes the steps unasked.")
        return False


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


def _print_hardware(hardware: Hardware, engines: Sequence[EngineState]) -> None:
    console = Console(highlight=False)
    for engine in engines:
        if engine.problem:
            console.print(f"[bold]{engine.name}[/]: {engine.problem}", soft_wrap=True)
    table = Table("", "", "GiB free", "of", title="Hardware", title_justify="left")
    cores = f"{hardware.processor}, {hardware.cores} cores, {hardware.threads} threads"
    table.add_row("processor", cores, _gib(hardware.available_bytes), _gib(hardware.memory_bytes))
    for gpu in hardware.gpus:
        table.add_row("GPU", gpu.name, _gib(gpu.free_bytes), _gib(gpu.total_bytes))
    if not hardware.gpus:
        table.add_row("GPU", hardware.gpu_note, "", "")
    console.print(table)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
