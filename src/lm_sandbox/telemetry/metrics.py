"""What is counted and timed for Prometheus. Every label has few values: templates, never paths or ids."""

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from lm_sandbox import __version__
from lm_sandbox.config.insight import MetricsAccess
from lm_sandbox.telemetry.happenings import (
    CommandEnded,
    CommandStarted,
    EgressNoted,
    FilesTouched,
    Happening,
    ModelUsed,
    RequestEnded,
    RunEnded,
    SandboxMade,
    ToolCalled,
)

# From a file's stat to a model's long answer, in seconds.
TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LAGS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS"})
# Codes of errors that say that something was full.
LIMITS = frozenset(
    {"too_large", "limit_reached", "quota_reached", "rate_limited", "no_capacity", "audit_unavailable"}
)
SECOND_MS = 1000.0


class Metrics:
    """Listens to what happens and counts it.

    Attributes:
        access: Who may read it.
        loop_lag: Takes how late the event loop is, in seconds.

    Args:
        access: Who may read it.
    """

    def __init__(self, access: MetricsAccess = MetricsAccess.KEY) -> None:
        self.access = access
        self._registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "lm_sandbox_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._request_times = Histogram(
            "lm_sandbox_request_seconds",
            "Time from a request to the first byte of its answer.",
            ["method", "route"],
            buckets=TIMES,
            registry=registry,
        )
        self._errors = Counter(
            "lm_sandbox_errors", "Requests that ended in an error.", ["code"], registry=registry
        )
        self._limits = Counter("lm_sandbox_limits_hit", "Limits that were hit.", ["limit"], registry=registry)
        self._made = Counter(
            "lm_sandbox_sandboxes_made", "Sandboxes asked for.", ["driver", "outcome"], registry=registry
        )
        self._making = self._times("sandbox_create", "Time to make a sandbox.", ["driver"])
        self._commands = Counter(
            "lm_sandbox_commands", "Commands that ended.", ["driver", "outcome"], registry=registry
        )
        self._spawning = self._times("command_spawn", "Time to start a command.", ["driver"])
        self._running = self._times("command", "Time that a command took.", ["driver"])
        self._files = Counter(
            "lm_sandbox_file_operations",
            "Files read and changed through the API.",
            ["operation", "outcome"],
            registry=registry,
        )
        self._denied = Counter(
            "lm_sandbox_egress_denied", "Connections refused to sandboxes.", registry=registry
        )
        self._init_models()
        self._init_runs()
        self.loop_lag = Histogram(
            "lm_sandbox_event_loop_lag_seconds",
            "How much later than asked for the event loop woke a task.",
            buckets=LAGS,
            registry=registry,
        )
        Info("lm_sandbox_build", "What runs.", registry=registry).info({"version": __version__})

    def _init_models(self) -> None:
        served = ["engine", "model"]
        self._uses = Counter(
            "lm_sandbox_model_requests", "Requests to models.", [*served, "outcome"], registry=self._registry
        )
        self._tokens = Counter(
            "lm_sandbox_model_tokens",
            "Tokens, as engines tell them.",
            [*served, "kind"],
            registry=self._registry,
        )
        self._waits = self._times("model_wait", "Time until a model was ready for a request.", served)
        self._firsts = self._times(
            "model_first_token", "Time from then to the first piece of the answer.", served
        )
        self._answers = self._times("model_request", "Time from then to the end of the answer.", served)

    def _init_runs(self) -> None:
        self._runs = Counter("lm_sandbox_runs", "Runs that ended.", ["outcome"], registry=self._registry)
        self._tools = Counter(
            "lm_sandbox_tool_calls",
            "Calls of tools by models.",
            ["tool", "outcome"],
            registry=self._registry,
        )
        self._run_times = Histogram(
            "lm_sandbox_run_seconds", "Time that a run took.", buckets=TIMES, registry=self._registry
        )

    def _times(self, name: str, told: str, labels: list[str]) -> Histogram:
        return Histogram(f"lm_sandbox_{name}_seconds", told, labels, buckets=TIMES, registry=self._registry)

    def __call__(self, happening: Happening) -> None:  # noqa: C901 - one a kind
        """Counts something."""
        match happening:
            case RequestEnded():
                self._request(happening)
            case CommandStarted():
                self._spawning.labels(happening.driver).observe(happening.spawn_ms / SECOND_MS)
            case CommandEnded():
                self._commands.labels(happening.driver, happening.outcome).inc()
                self._running.labels(happening.driver).observe(happening.duration_ms / SECOND_MS)
                for limit in happening.limits:
                    self._limits.labels(limit).inc()
            case FilesTouched():
                self._files.labels(happening.operation, happening.outcome).inc()
            case SandboxMade():
                self._made.labels(happening.driver, happening.outcome).inc()
                if happening.outcome == "ok":
                    self._making.labels(happening.driver).observe(happening.duration_ms / SECOND_MS)
            case EgressNoted(decision="denied"):
                self._denied.inc(1 + happening.left_out)
            case ModelUsed():
                self._model(happening)
            case RunEnded():
                self._runs.labels(happening.outcome).inc()
                self._run_times.observe(happening.duration_ms / SECOND_MS)
            case ToolCalled():
                self._tools.labels(happening.tool, happening.outcome).inc()

    def add(self, collector: Collector) -> None:
        """Adds what is read when Prometheus asks."""
        self._registry.register(collector)

    def render(self) -> bytes:
        """Writes everything in the text format of Prometheus."""
        return generate_latest(self._registry)

    def _request(self, ended: RequestEnded) -> None:
        method = ended.method if ended.method in METHODS else "other"
        self._requests.labels(method, ended.route, ended.status).inc()
        self._request_times.labels(method, ended.route).observe(ended.begun_ms / SECOND_MS)
        if ended.code:
            self._errors.labels(ended.code).inc()
        if ended.code in LIMITS:
            self._limits.labels(ended.code).inc()

    def _model(self, used: ModelUsed) -> None:
        served = (used.engine, used.model)
        self._uses.labels(*served, used.outcome).inc()
        self._waits.labels(*served).observe(used.waited_ms / SECOND_MS)
        if used.first_ms is not None:
            self._firsts.labels(*served).observe(used.first_ms / SECOND_MS)
            self._answers.labels(*served).observe(used.duration_ms / SECOND_MS)
        for kind, tokens in (("prompt", used.prompt_tokens), ("completion", used.completion_tokens)):
            if tokens is not None:
                self._tokens.labels(*served, kind).inc(tokens)
