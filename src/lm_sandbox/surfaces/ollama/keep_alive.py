"""How long a model stays loaded, as Ollama's clients write it."""

import math
import re

from lm_sandbox.errors import Invalid

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)$")


def keep_alive_s(written: float | str | None) -> float | None:
    """Reads `300`, `"5m"` or `"1h30m"` as seconds; below zero is for ever, which is infinity.

    Raises:
        Invalid: it is no duration.
    """
    if written is None:
        return None
    seconds = _seconds(written.strip()) if isinstance(written, str) else float(written)
    if seconds is None or math.isnan(seconds):
        raise Invalid(
            f'keep_alive: {written!r} is no duration; write seconds, or such as "5m".', field="keep_alive"
        )
    return math.inf if seconds < 0 else seconds


def _seconds(text: str) -> float | None:
    if _NUMBER.match(text):
        return float(text)
    sign = -1.0 if text.startswith("-") else 1.0
    text = text.lstrip("+-")
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return sign * sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)
