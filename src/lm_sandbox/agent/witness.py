"""Tells of runs and of the tools that are called in them, each within a span of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import anyio

from lm_sandbox.agent.events import EndReason, RunResult
from lm_sandbox.agent.tools import BASH
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import ToolCall, Usage
from lm_sandbox.telemetry.happenings import Happening, RunEnded, Tell, ToolCalled, span_within

CANCELLED, BROKEN = "cancelled", "internal_error"


class RunSeen:
    """What is to be told of a run when it is over; `result` is set where it came to an end of its own."""

    def __init__(self) -> None:
        self.result = RunResult(EndReason.ANSWERED, Usage(), 0)


class ToolSeen:
    """What is to be told of a call when it is over."""

    def __init__(self) -> None:
        self.outcome = "ok"


class RunWitness:
    """Tells for one loop.

    Args:
        tell: Who listens.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    @contextmanager
    def run(self, principal: Principal, model: str) -> Iterator[RunSeen]:
        """Sees a run from its start to its end."""
        seen, started, failure = RunSeen(), perf_counter(), ""
        with span_within():
            try:
                yield seen
            except BaseException as error:
                failure = _code(error)
                raise
            finally:
                result = seen.result
                self._tell(
                    RunEnded(
                        who=principal.id,
                        name=principal.name,
                        model=model,
                        outcome=failure or result.reason.value,
                        steps=result.steps,
                        duration_ms=_since(started),
                        prompt_tokens=result.usage.prompt_tokens,
                        completion_tokens=result.usage.completion_tokens,
                    )
                )

    @contextmanager
    def tool(self, principal: Principal, call: ToolCall) -> Iterator[ToolSeen]:
        """Sees a call of a tool."""
        seen, started = ToolSeen(), perf_counter()
        with span_within():
            try:
                yield seen
            except BaseException as error:
                seen.outcome = _code(error)
                raise
            finally:
                self._tell(self._called(principal, call, seen, _since(started)))

    def _called(self, principal: Principal, call: ToolCall, seen: ToolSeen, took_ms: float) -> Happening:
        return ToolCalled(
            who=principal.id,
            name=principal.name,
            tool=call.name if call.name == BASH else "other",
            call=call.id,
            outcome=seen.outcome,
            duration_ms=took_ms,
        )


def _code(error: BaseException) -> str:
    if isinstance(error, LmSandboxError):
        return error.code
    return CANCELLED if isinstance(error, anyio.get_cancelled_exc_class()) else BROKEN


def _since(started: float) -> float:
    return (perf_counter() - started) * 1000
