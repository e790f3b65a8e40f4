"""Counts the tokens of an answer that passes through unread."""

import re

KEPT = 4096
TOLD = re.compile(rb'"total_tokens"\s*:\s*(\d{1,12})')
# Ollama tells them apart.
PARTS = (re.compile(rb'"prompt_eval_count"\s*:\s*(\d{1,12})'), re.compile(rb'"eval_count"\s*:\s*(\d{1,12})'))
EVENT = b"data: {"
# What is known of text in general.
BYTES_OF_A_TOKEN = 4


class PassingTokens:
    """Looks for what the engine tells of its usage, near the end; else it estimates.

    Args:
        asked_bytes: How large the request was.
    """

    def __init__(self, asked_bytes: int) -> None:
        self._asked_bytes = asked_bytes
        self._bytes = 0
        self._events = 0
        self._end = b""

    def see(self, piece: bytes) -> None:
        """Takes the next piece of the answer."""
        self._bytes += len(piece)
        self._events += piece.count(EVENT)
        self._end = (self._end + piece)[-KEPT:]

    def count(self) -> int:
        """Tells how many tokens were read and written."""
        told = TOLD.findall(self._end)
        if told:
            return int(told[-1])
        parts = [found[-1] for pattern in PARTS if (found := pattern.findall(self._end))]
        if parts:
            return sum(map(int, parts))
        # A stream has about one token in an event.
        written = self._events or self._bytes // BYTES_OF_A_TOKEN
        return self._asked_bytes // BYTES_OF_A_TOKEN + written
