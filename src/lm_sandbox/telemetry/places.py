"""Where in a trace something happens, as W3C Trace Context Level 1 has it."""

import re
import secrets
from dataclasses import dataclass
from typing import Self

# Section 3.2: version, trace-id, parent-id, trace-flags; later versions may say more after these.
TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Place:
    """The span that something belongs to.

    Attributes:
        trace: The trace's id, 32 hexadecimal digits.
        span: The span's id, 16 hexadecimal digits.
        parent: The id of the span that this one belongs to; empty for the first of a trace.
        sampled: Whether the caller records the trace; None where it did not say.
    """

    trace: str
    span: str
    parent: str = ""
    sampled: bool | None = None

    @classmethod
    def of(cls, traceparent: bytes | None) -> Self:
        """Returns the place of a request, in its caller's trace where it names one."""
        found = TRACEPARENT.fullmatch(traceparent or b"")
        if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
            return cls(secrets.token_hex(16), secrets.token_hex(8))
        trace, parent = found[2].decode(), found[3].decode()
        if trace == NO_TRACE or parent == NO_SPAN:
            return cls(secrets.token_hex(16), secrets.token_hex(8))
        return cls(trace, secrets.token_hex(8), parent, bool(int(found[4], 16) & SAMPLED))

    def within(self) -> "Place":
        """Returns the place of a new span that belongs to this one."""
        return Place(self.trace, secrets.token_hex(8), self.span, self.sampled)
