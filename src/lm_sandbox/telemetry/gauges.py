"""What is read at the moment in which Prometheus asks."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Readings = Mapping[tuple[str, ...], float]


class Gauge(Collector):
    """A gauge whose values are asked for.

    Args:
        name: Without the prefix.
        told: What it is.
        labels: Their names.
        read: Returns the values by the labels' values.
    """

    def __init__(self, name: str, told: str, labels: Sequence[str], read: Callable[[], Readings]) -> None:
        self._name = f"lm_sandbox_{name}"
        self._told = told
        self._labels = labels
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Names it, without asking for values."""
        return [GaugeMetricFamily(self._name, self._told, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """Asks for the values."""
        family = GaugeMetricFamily(self._name, self._told, labels=self._labels)
        for values, value in self._read().items():
            family.add_metric(values, value)
        return [family]
