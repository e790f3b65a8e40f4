"""What is recorded of one thing that happened, before it has its place in the chain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        kind: What sort, such as `command.started`.
        at: When, in seconds since 1970.
        who: The id of the principal; empty where none is known.
        name: The principal's name.
        address: From where it came.
        request_id: The request that it belongs to.
        outcome: `ok`, or in one word why not.
        duration_ms: Where it took time.
        what: What the kind needs besides; its texts are redacted before they are written.
    """

    kind: str
    at: float
    who: str = ""
    name: str = ""
    address: str = ""
    request_id: str = ""
    outcome: str = "ok"
    duration_ms: float | None = None
    what: Mapping[str, JsonValue] = field(default_factory=dict)
