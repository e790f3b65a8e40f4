"""`lm-sandbox verify`: tries to break out of a sandbox on this machine, and reports what held."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lm_sandbox import __version__
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import DriverUnavailable, Unsupported
from lm_sandbox.parts import build_driver
from lm_sandbox.sandboxes.driver import Enforced
from lm_sandbox.sandboxes.drivers.bubblewrap.checks import obstacle_to_images
from lm_sandbox.sandboxes.verification.attempts import MACHINE
from lm_sandbox.sandboxes.verification.verify import Outcome, can_verify, rounds_on

SHOWN_CHARACTERS = 300


async def report(settings: Settings, only: Sequence[str], *, as_json: bool) -> int:
    """Makes attempts and prints what came of them; returns 1 where anything got through.

    Args:
        settings: Of the server whose sandboxes are tried.
        only: The groups to try; none means all.
        as_json: Whether a program reads it.

    Raises:
        DriverUnavailable: this host cannot isolate, or is not of the kind that the attempts know.
        Unsupported: the sandboxes' image lacks what the attempts are written in.
    """
    if not can_verify():
        raise DriverUnavailable(f"The attempts are written for {MACHINE}; this is {platform.machine()}.")
    report = Report()
    progress = Progress(transient=True, console=Console(stderr=True), disable=as_json)
    images = settings.sandbox.driver == "bubblewrap" and obstacle_to_images() is None
    async with build_driver(settings.for_one_use()) as driver:
        with progress:
            rounds = rounds_on(driver.name, images=images)
            for tried in [one.only(only) for one in rounds] if only else rounds:
                if not tried.size:
                    continue
                try:
                    async with tried.open(driver) as opened:
                        report.enforced = report.enforced or opened.enforced
                        for attempt in progress.track(opened.tries, description=f"Trying {tried.name}"):
                            report.outcomes.append(await attempt())
                except Unsupported as error:
                    report.left_out[tried.name] = str(error)
    if report.enforced is None:
        raise Unsupported("; ".join(report.left_out.values()) or "There are no attempts of such a group.")
    if as_json:
        print(json.dumps(_as_json(report, report.enforced)))  # noqa: T201
    else:
        _print(report, report.enforced)
    return 0 if all(outcome.held for outcome in report.outcomes) else 1


@dataclass(slots=True)
class Report:
    """What has come of it so far.

    Attributes:
        enforced: What held the first sandbox.
        outcomes: Of each attempt.
        left_out: The rounds that could not be made, and why.
    """

    enforced: Enforced | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def _as_json(report: Report, enforced: Enforced) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "kernel": platform.release(),
        "driver": enforced.driver,
        "isolation": enforced.isolation,
        "entry": enforced.entry,
        "limits": dict(enforced.limits),
        "attempts": [
            {"group": o.attempt.group, "name": o.attempt.name, "held": o.held, "output": o.output}
            for o in report.outcomes
        ],
        "left_out": report.left_out,
        "held": all(outcome.held for outcome in report.outcomes),
    }


def _print(report: Report, enforced: Enforced) -> None:
    outcomes = report.outcomes
    console = Console(highlight=False)
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    what = f"lm-sandbox {__version__}, driver {enforced.driver}, Linux {platform.release()}"
    console.print(f"{now}, {what}", soft_wrap=True)
    table = Table("group", "tried", "held")
    for group in dict.fromkeys(outcome.attempt.group for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.attempt.group == group]
        held = sum(outcome.held for outcome in own)
        table.add_row(group, str(len(own)), f"[{'green' if held == len(own) else 'red'}]{held}[/]")
    console.print(table)
    for name, reason in report.left_out.items():
        console.print(f"[bold yellow]Not tried {name}[/]: {reason}", soft_wrap=True)
    failed = [outcome for outcome in outcomes if not outcome.held]
    for outcome in failed:
        what = "got through" if outcome.got_through else "left the sandbox unwell"
        console.print(f"[bold red]{outcome.attempt.group}: {outcome.attempt.name}[/] {what}", soft_wrap=True)
        console.print(outcome.output[:SHOWN_CHARACTERS], markup=False, soft_wrap=True)
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(outcomes)} attempts got through.[/] See SECURITY.md.")
    else:
        console.print(f"[bold green]All {len(outcomes)} attempts were in vain.[/]")
