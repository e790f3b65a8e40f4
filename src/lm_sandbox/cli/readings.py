"""One look at a server through its API, and what two looks say together: rates and shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio
import httpx
from prometheus_client.parser import text_string_to_metric_families

from lm_sandbox.cli.connection import check

MOST_SANDBOXES, MOST_RUNS = 100, 5
Labels = frozenset[tuple[str, str]]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server said at one moment.

    Attributes:
        at: Seconds that only go up.
        samples: Of its metrics, by name and labels.
        sandboxes: As the API lists them, each with its `stats`.
        models: Of every engine.
        runs: The latest.
    """

    at: float
    samples: Mapping[tuple[str, Labels], float]
    sandboxes: list[Row] = field(default_factory=list)
    models: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)

    def total(self, name: str, **labels: str) -> float:
        """Adds up the samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, own), value in self.samples.items() if found == name and wanted <= own)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Adds up the samples of a name by the values of one label."""
        sums: dict[str, float] = {}
        for (found, own), value in self.samples.items():
            if found == name:
                key = dict(own).get(label, "")
                sums[key] = sums.get(key, 0) + value
        return sums


async def read(client: httpx.AsyncClient) -> Reading:
    """Looks at a server.

    Raises:
        Unavailable: it refused.
    """
    metrics = (await check(await client.get("/metrics"))).text
    query = {"limit": MOST_SANDBOXES}
    sandboxes = (await check(await client.get("/v1/sandboxes", params=query))).json()["data"]
    engines = (await check(await client.get("/v1/engines"))).json()["data"]
    runs = (await check(await client.get("/v1/responses", params={"limit": MOST_RUNS}))).json()["data"]
    used: dict[str, Row] = {}

    async def look(sandbox_id: str) -> None:
        answer = await client.get(f"/v1/sandboxes/{sandbox_id}/stats")
        # It may be deleted between the list and this question.
        used[sandbox_id] = answer.json() if answer.is_success else {}

    async with anyio.create_task_group() as tasks:
        for sandbox in sandboxes:
            tasks.start_soon(look, sandbox["id"])
    return Reading(
        monotonic(),
        samples_of(metrics),
        [{**sandbox, "stats": used.get(sandbox["id"], {})} for sandbox in sandboxes],
        [model for engine in engines for model in engine["models"]],
        runs,
    )


def samples_of(text: str) -> dict[tuple[str, Labels], float]:
    """Reads metrics in the text format of Prometheus."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@dataclass(frozen=True, slots=True)
class Span:
    """Two readings, one after the other."""

    before: Reading
    now: Reading

    @property
    def seconds(self) -> float:
        """Between them; never nothing."""
        return max(self.now.at - self.before.at, 1e-3)

    def rate(self, name: str, **labels: str) -> float:
        """How much a counter grew in a second; a server that was started anew began at nothing."""
        grown = self.now.total(name, **labels) - self.before.total(name, **labels)
        return max(grown, 0.0) / self.seconds

    def quantile(self, name: str, share: float) -> float | None:
        """The bound under which a histogram's new values are to that share; None where there are none."""
        old = self.before.by(f"{name}_bucket", "le")
        new = {
            float(bound): value - old.get(bound, 0.0)
            for bound, value in self.now.by(f"{name}_bucket", "le").items()
        }
        whole = new.get(float("inf"), 0.0)
        if whole <= 0:
            return None
        return min((bound for bound, value in new.items() if value >= share * whole), default=None)

    def cpu_share(self, sandbox: Row) -> float | None:
        """How many cores a sandbox took; None where that is not known."""
        used = sandbox["stats"].get("cpu_seconds")
        for old in self.before.sandboxes:
            if old["id"] == sandbox["id"] and used is not None:
                earlier = old["stats"].get("cpu_seconds")
                return None if earlier is None else max(used - earlier, 0.0) / self.seconds
        return None
