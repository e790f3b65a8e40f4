"""How a client is told that its model called no tool although it had to, and could not be made to."""

from collections.abc import Mapping

# Added to the answer, or to the last piece of a stream.
UNFORCED: Mapping[str, object] = {"tool_choice_honoured": False}
HEADER = "x-lm-sandbox-tool-choice"


def unforced_headers(*, unforced: bool) -> dict[str, str]:
    """Writes the header of a whole answer, where there is something to tell."""
    return {HEADER: "not honoured"} if unforced else {}
