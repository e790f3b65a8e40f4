"""One request from its first byte to its last: its id, who made it, and what became of it."""

from dataclasses import dataclass, field
from time import perf_counter

from starlette.requests import HTTPConnection

from lm_sandbox.identity.principals import Principal
from lm_sandbox.telemetry.happenings import Origin

KEY = "lm_sandbox.exchange"
ASKED_BYTES = 4096


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far.

    Attributes:
        origin: Its id and address.
        principal: Who makes it; None while that is not known.
        scope: What the route asks of the principal.
        asked: The body of an admin's request, cut.
        code: The stable code of its error, else empty.
        status: Of the answer; 0 before it has begun.
        begun_ms: When the answer began.
        told: Whether it was told already.
    """

    origin: Origin
    started: float = field(default_factory=perf_counter)
    principal: Principal | None = None
    scope: str = ""
    asked: str = ""
    code: str = ""
    status: int = 0
    begun_ms: float = 0.0
    told: bool = False

    def elapsed_ms(self) -> float:
        """How long it has taken so far."""
        return (perf_counter() - self.started) * 1000


def exchange_of(connection: HTTPConnection) -> Exchange:
    """Finds the exchange that a request is; one that nobody hears of where there is none."""
    found = connection.scope.get(KEY)
    return found if isinstance(found, Exchange) else Exchange(Origin())
