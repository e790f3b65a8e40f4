"""What NVIDIA GPUs do now, as NVML tells it; nothing where there is none."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

LABELS = ("gpu", "name")
Read = Callable[[Any, Any], float]
# Each of them may be unknown to a driver or a GPU on its own.
READINGS: tuple[tuple[str, str, Read], ...] = (
    (
        "memory_used_bytes",
        "Memory in use.",
        lambda nvml, gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    ),
    ("memory_bytes", "Memory.", lambda nvml, gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).total)),
    (
        "utilization_ratio",
        "Share of the last moment in which it computed.",
        lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    ),
    (
        "temperature_celsius",
        "Temperature.",
        lambda nvml, gpu: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
    ),
    ("power_watts", "Power drawn.", lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000),
)


class GpuCollector(Collector):
    """Asks NVML.

    Args:
        nvml: The module `pynvml`, or one that does the same.
    """

    def __init__(self, nvml: Any = None) -> None:  # noqa: ANN401 - a module without types
        self._nvml = nvml

    def describe(self) -> Iterable[Metric]:
        """Names the gauges."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Reads every GPU."""
        families = self._families()
        try:
            nvml = self._nvml or import_module("pynvml")
            nvml.nvmlInit()
        except Exception:  # noqa: BLE001 - no package or no driver, in many ways: there is nothing to tell
            return families
        try:
            for number in range(nvml.nvmlDeviceGetCount()):
                _read(nvml, number, families)
        except nvml.NVMLError:
            return families
        finally:
            nvml.nvmlShutdown()
        return families

    @staticmethod
    def _families() -> list[GaugeMetricFamily]:
        return [
            GaugeMetricFamily(f"lm_sandbox_gpu_{name}", told, labels=LABELS) for name, told, _ in READINGS
        ]


def _read(nvml: Any, number: int, families: list[GaugeMetricFamily]) -> None:  # noqa: ANN401
    gpu = nvml.nvmlDeviceGetHandleByIndex(number)
    labels = (str(number), str(nvml.nvmlDeviceGetName(gpu)))
    for family, (_, _, read) in zip(families, READINGS, strict=True):
        try:
            family.add_metric(labels, read(nvml, gpu))
        except nvml.NVMLError:
            continue  # This one is unknown here; the others are not.
