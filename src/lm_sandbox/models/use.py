"""One use of a model: how long it waited and took, and how many tokens there were."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import anyio

from lm_sandbox.errors import LmSandboxError
from lm_sandbox.telemetry.happenings import ModelUsed, Tell

# What an engine tells of tokens stands at the end of its answer, in one of these ways.
PROMPT = re.compile(rb'"(?:prompt_tokens|prompt_n)"\s*:\s*(\d{1,12})')
COMPLETION = re.compile(rb'"(?:completion_tokens|predicted_n)"\s*:\s*(\d{1,12})')
TAIL_BYTES = 8 * 1024


@dataclass(slots=True)
class Use:
    """What is known of a use so far; times are those of `perf_counter`."""

    asked_at: float = field(default_factory=perf_counter)
    leased_at: float | None = None
    first_at: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def answered(self) -> None:
        """Says that a piece of the answer is here."""
        self.first_at = self.first_at or perf_counter()

    async def watch(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Hands an answer on as it is, and reads at its end how many tokens it had."""
        tail = b""
        async for piece in pieces:
            self.answered()
            tail = (tail + piece)[-TAIL_BYTES:]
            yield piece
        for name, pattern in (("prompt_tokens", PROMPT), ("completion_tokens", COMPLETION)):
            found = pattern.findall(tail)
            if found:
                setattr(self, name, int(found[-1]))


class Uses:
    """Sees every use of a model, and knows how many wait and are served now.

    Attributes:
        waiting: Requests for which a model is not ready, by engine and model.
        served: Requests that have one.

    Args:
        tell: Hears of each when it is over.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.waiting: Counter[tuple[str, str]] = Counter()
        self.served: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def use(self, engine: str, model: str, caller: str, kind: str = "chat") -> Iterator[Use]:
        """Sees one use, from its asking to its end; `leased` is to be called in between."""
        use, outcome = Use(), "cancelled"
        key = (engine, model)
        self.waiting[key] += 1
        try:
            yield use
            outcome = "ok"
        except LmSandboxError as error:
            outcome = error.code
            raise
        except anyio.get_cancelled_exc_class():
            raise
        except Exception:
            outcome = "internal_error"
            raise
        finally:
            (self.waiting if use.leased_at is None else self.served)[key] -= 1
            self._tell(_told(use, engine, model, caller, outcome, kind))

    def leased(self, use: Use, engine: str, model: str) -> None:
        """Says that the model is ready for it."""
        use.leased_at = perf_counter()
        self.waiting[engine, model] -= 1
        self.served[engine, model] += 1


def _told(  # noqa: PLR0913, PLR0917 - what is told
    use: Use, engine: str, model: str, caller: str, outcome: str, kind: str
) -> ModelUsed:
    now = perf_counter()
    leased_at = use.leased_at or now
    return ModelUsed(
        who=caller,
        engine=engine,
        model=model,
        outcome=outcome,
        kind=kind,
        waited_ms=(leased_at - use.asked_at) * 1000,
        duration_ms=(now - leased_at) * 1000,
        first_ms=None if use.first_at is None else (use.first_at - leased_at) * 1000,
        prompt_tokens=use.prompt_tokens,
        completion_tokens=use.completion_tokens,
    )
