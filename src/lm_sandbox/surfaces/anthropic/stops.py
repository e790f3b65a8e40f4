"""Finds a stop sequence in a text that comes in pieces; pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scanned:
    """What may be shown, and the sequence that ended it, if one did."""

    text: str
    stop: str | None = None


class StopScanner:
    """Holds back what may be the beginning of a stop sequence.

    Engines stop too, but do not tell at which of them.

    Args:
        stops: The sequences; empty ones mean nothing.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def feed(self, piece: str) -> Scanned:
        """Takes a piece; of sequences that begin at one place the longest counts."""
        text = self._held + piece
        found = [(text.find(stop), -len(stop), stop) for stop in self._stops if stop in text]
        if found:
            at, _, stop = min(found)
            self._held = ""
            return Scanned(text[:at], stop)
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return Scanned(text[: len(text) - kept])

    def flush(self) -> str:
        """Gives what was held back, as nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How much of the text's end is how the sequence begins."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
