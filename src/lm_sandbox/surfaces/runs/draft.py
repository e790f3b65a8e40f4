"""A response while it is made: its status and its body, with every field that clients expect."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lm_sandbox.agent.events import EndReason, RunResult
from lm_sandbox.models.chat import Usage
from lm_sandbox.surfaces.errors import Failure, failure_of
from lm_sandbox.surfaces.runs import items
from lm_sandbox.surfaces.runs.writer import ItemWriter
from lm_sandbox.surfaces.unforced import UNFORCED

Body = dict[str, object]
BUSY = 429
NOT_NOW = 503
OUR_FAULT = 500


class Status(StrEnum):
    """Where a response is in its life."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


# Clients expect every field to be there.
USUAL: Mapping[str, object] = {
    "instructions": None,
    "previous_response_id": None,
    "conversation": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "temperature": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "reasoning": {"effort": None, "summary": None},
    "max_output_tokens": None,
    "max_tool_calls": None,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
RUNNING = frozenset({Status.QUEUED, Status.IN_PROGRESS})
WHOLE = frozenset({EndReason.ANSWERED, EndReason.CALLERS_TURN, EndReason.HEARD_ENOUGH})


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of a request.

    Attributes:
        model: By the name that the client used.
        input: What the run starts from, as input items, each with its id.
        fields: Those of a response that come from its request, where they are not the usual ones.
        stored: Whether the run is kept.
        background: Whether it goes on without its client.
    """

    model: str
    input: Sequence[Body] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    stored: bool = True
    background: bool = False


class Draft:
    """One response.

    Args:
        asked: What was asked for.
        response_id: Its name, where it has one already.

    Attributes:
        error: Why it has failed, if it has.
        result: How its run ended by itself, if it did.
    """

    def __init__(self, asked: Asked, response_id: str | None = None) -> None:
        self.id = response_id or new_response_id()
        self.asked = asked
        self.writer = ItemWriter()
        self.status = Status.QUEUED if asked.background else Status.IN_PROGRESS
        self.error: Exception | None = None
        self._created_at = time.time()
        self._ended_at: float | None = None
        self.result: RunResult | None = None
        self._failure: Failure | None = None

    def begin(self) -> None:
        """The model is at work."""
        self.status = Status.IN_PROGRESS

    def end(self, result: RunResult) -> None:
        """The run has ended by itself."""
        self.result = result
        self._stop(Status.COMPLETED if result.reason in WHOLE else Status.INCOMPLETE)

    def fail(self, error: Exception) -> None:
        """The run has failed."""
        self.error = error
        self._failure = failure_of(error)
        self._stop(Status.FAILED)

    def cancel(self) -> None:
        """The run was ended from outside."""
        self._stop(Status.CANCELLED)

    def _stop(self, status: Status) -> None:
        self.status = status
        self._ended_at = time.time()

    def body(self) -> Body:
        """Writes the response as it is now."""
        return {
            **USUAL,
            **self.asked.fields,
            "id": self.id,
            "object": "response",
            "created_at": int(self._created_at),
            "completed_at": None if self._ended_at is None else int(self._ended_at),
            "status": self.status.value,
            "incomplete_details": self._incomplete(),
            "error": self._error(),
            "model": self.asked.model,
            "output": list(self.writer.output),
            "usage": usage_body(self.result.usage) if self.result else None,
            "store": self.asked.stored,
            "background": self.asked.background,
            **(UNFORCED if self.unforced else {}),
        }

    @property
    def unforced(self) -> bool:
        """Whether a tool had to be called, and nothing could make the model do it."""
        return self.result is not None and self.result.unforced

    def _incomplete(self) -> dict[str, str] | None:
        if self.status is not Status.INCOMPLETE or self.result is None:
            return None
        cut = self.result.reason is EndReason.TOKEN_LIMIT
        return {"reason": "max_output_tokens" if cut else self.result.reason.value}

    def _error(self) -> dict[str, str] | None:
        if self._failure is None:
            return None
        code = "invalid_prompt" if self._failure.status < OUR_FAULT else "server_error"
        code = "rate_limit_exceeded" if self._failure.status in {BUSY, NOT_NOW} else code
        return {"code": code, "message": self._failure.message}


def new_response_id() -> str:
    """Makes a name for a response."""
    return items.new_id("resp")


def result_of(draft: Draft) -> RunResult:
    """Returns how the run of a response ended.

    Raises:
        Exception: what it failed with.
    """
    if draft.error is not None:
        raise draft.error
    if draft.result is None:
        raise RuntimeError("the response has not ended")
    return draft.result


def usage_body(usage: Usage) -> Body:
    """Writes what a run took."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
