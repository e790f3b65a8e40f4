"""A response while it is made: its status and its body, with every field that clients expect."""

import time
from enum import StrEnum

from lm_sandbox.agent.events import EndReason, RunResult
from lm_sandbox.models.chat import Usage
from lm_sandbox.surfaces.errors import Failure, failure_of
from lm_sandbox.surfaces.openai.responses import items
from lm_sandbox.surfaces.openai.responses.schemas import ResponseCreate
from lm_sandbox.surfaces.openai.responses.writer import ItemWriter

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


RUNNING = frozenset({Status.QUEUED, Status.IN_PROGRESS})
WHOLE = frozenset({EndReason.ANSWERED, EndReason.CALLERS_TURN})


class Draft:
    """One response.

    Args:
        request: What was asked for.

    Attributes:
        error: Why it has failed, if it has.
        result: How its run ended by itself, if it did.
    """

    def __init__(self, request: ResponseCreate) -> None:
        self.id = items.new_id("resp")
        self.request = request
        self.writer = ItemWriter()
        self.status = Status.QUEUED if request.background else Status.IN_PROGRESS
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
        request = self.request
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self._created_at),
            "completed_at": None if self._ended_at is None else int(self._ended_at),
            "status": self.status.value,
            "incomplete_details": self._incomplete(),
            "error": self._error(),
            "model": request.model,
            "instructions": request.instructions,
            "output": list(self.writer.output),
            "previous_response_id": request.previous_response_id,
            "tools": [tool.model_dump(exclude_unset=True) for tool in request.tools],
            "tool_choice": self._tool_choice(),
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "truncation": request.truncation or "disabled",
            "text": request.text or {"format": {"type": "text"}},
            "top_p": 1.0 if request.top_p is None else request.top_p,
            "temperature": 1.0 if request.temperature is None else request.temperature,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_logprobs": 0,
            "reasoning": {"effort": None, "summary": None, **(request.reasoning or {})},
            "usage": _usage(self.result.usage) if self.result else None,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "store": request.stored,
            "background": bool(request.background),
            "service_tier": "default",
            "metadata": request.metadata or {},
            "safety_identifier": request.safety_identifier,
            "prompt_cache_key": request.prompt_cache_key,
        }

    def _tool_choice(self) -> object:
        choice = self.request.tool_choice
        return choice if isinstance(choice, str) else choice.model_dump(exclude_unset=True)

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


def _usage(usage: Usage) -> Body:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
