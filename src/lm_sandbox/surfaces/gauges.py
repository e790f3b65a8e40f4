"""The gauges that the parts of a server have: sandboxes, models, GPUs, and the audit."""

from collections import Counter

from lm_sandbox.audit.log import AuditLog
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.telemetry.gauges import Gauge, Readings
from lm_sandbox.telemetry.gpus import GpuCollector
from lm_sandbox.telemetry.metrics import Metrics

MODEL = ("engine", "model")


def add_gauges(metrics: Metrics, sandboxes: SandboxService, models: ModelRegistry, audit: AuditLog) -> None:
    """Lets Prometheus read how the parts stand."""

    def states() -> Readings:
        return {(state.value,): count for state, count in sandboxes.states().items()}

    def failing() -> Readings:
        return {(): float(audit.failing)}

    waiting, served = models.uses.waiting, models.uses.served
    metrics.add(Gauge("sandboxes", "Sandboxes by state.", ["state"], states))
    metrics.add(Gauge("model_waiting", "Requests that wait for a model.", MODEL, lambda: _counts(waiting)))
    metrics.add(Gauge("model_served", "Requests that have a model.", MODEL, lambda: _counts(served)))
    metrics.add(Gauge("audit_failing", "Whether the last write of the audit failed.", [], failing))
    metrics.add(GpuCollector())


def _counts(counter: Counter[tuple[str, str]]) -> Readings:
    return {served: float(count) for served, count in counter.copy().items()}
