"""Takes secrets out of what is recorded: a pattern's match is replaced, but for its group `keep`.

Every pattern takes time in proportion to the text, however the text was made: repetitions before what makes
a match one are bounded.
"""

import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from lm_sandbox.errors import Invalid

REDACTED = "[redacted]"
MARGIN_CHARS = 4096
NAMES = r"(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credentials?)"
VALUE = r"""(?:"[^"]+"|'[^']+'|[^\s"'&;|,]+)"""
DEFAULTS = (
    # A password in a URL.
    r"(?P<keep>://[^\s/:@]{0,256}:)[^\s/@]{1,512}(?=@)",
    # Headers and their like.
    r"(?i)(?P<keep>\b(?:bearer|basic|token)\s{1,4})[a-z0-9._~+/=-]{8,}",
    # curl -u and sshpass -p.
    r"""(?P<keep>\s(?:-u|--user)[\s=]{1,4}["']?[^\s:"']{1,128}:)[^\s"']{1,512}""",
    r"(?P<keep>\bsshpass\s{1,4}-p\s{0,4})\S{1,512}",
    # NAME=value, "name": "value" and --name value, whatever else is in the name.
    rf"""(?i)(?P<keep>{NAMES}[a-z0-9_-]{{0,32}}["']?\s{{0,4}}[=:]\s{{0,4}})(?![=:]){VALUE}""",
    rf"""(?i)(?P<keep>--(?:[a-z0-9]{{1,16}}-){{0,3}}{NAMES}[a-z0-9-]{{0,32}}\s{{1,4}}){VALUE}""",
    # Private keys in PEM.
    r"(?s)-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    # Those that can be told by their looks: AWS, GitHub, GitLab, OpenAI, Anthropic, Hugging Face, Slack,
    # Google, our own, and JWTs.
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\bsk-[A-Za-z0-9_-]{16,}",
    r"\bhf_[A-Za-z0-9]{16,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bAIza[0-9A-Za-z_-]{30,}",
    r"\blms_[A-Za-z0-9_-]{16,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*",
)


class Redactor:
    """Replaces what looks like a secret.

    Args:
        patterns: Regular expressions in Python's syntax.
        max_chars: Longer texts are cut, after they were redacted.

    Raises:
        Invalid: a pattern is no regular expression.
    """

    def __init__(self, patterns: Sequence[str] = DEFAULTS, max_chars: int = 32 * 1024) -> None:
        self._patterns = [_compiled(pattern) for pattern in patterns]
        self._max_chars = max_chars

    def text(self, text: str) -> str:
        """Returns a text without its secrets, cut where it is too long."""
        surplus = len(text) - self._max_chars
        # A secret across the cut is still seen as one.
        text = text[: self._max_chars + MARGIN_CHARS]
        for pattern in self._patterns:
            text = pattern.sub(_kept, text)
        return f"{text[: self._max_chars]}[{surplus} characters cut]" if surplus > 0 else text

    def all(self, what: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Returns the same with every text in it redacted."""
        return {name: self._value(value) for name, value in what.items()}

    def _value(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return self._listed(value)
        return self.all(value) if isinstance(value, dict) else value

    def _listed(self, values: list[JsonValue]) -> list[JsonValue]:
        """What follows `--password` is known by it, so a list is looked at as the line that it is."""
        texts = [value for value in values if isinstance(value, str)]
        line = "\n".join(texts)
        if len(texts) == len(values) and all("\n" not in text for text in texts):
            return [*self.text(line).split("\n")]
        return [self._value(value) for value in values]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise Invalid(f"{pattern!r} is no regular expression: {error}.", field="audit.redact") from error


def _kept(found: re.Match[str]) -> str:
    kept = found.groupdict().get("keep") or ""
    return kept + REDACTED
