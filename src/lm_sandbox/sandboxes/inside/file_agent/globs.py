"""Patterns for paths: `*` and `?` stay within a name, `**` goes through folders."""

import re

from .refused import Refused

ANY_FOLDERS = r"(?:[^/]+/)*"


def translate(pattern: str) -> "re.Pattern[str]":
    """Makes a regular expression that a relative path matches as a whole.

    Raises:
        Refused: a class such as `[z-a]` makes no sense.
    """
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".+" if last else ANY_FOLDERS
        else:
            text += _name(part) + ("" if last else "/")
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise Refused(f"The glob makes no sense: {error}.", "glob") from error


def _name(part: str) -> str:
    text, at = "", 0
    while at < len(part):
        character = part[at]
        end = part.find("]", at + 2) if character == "[" else -1
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif end > 0:
            text += _class(part[at + 1 : end])
            at = end
        else:
            text += re.escape(character)
        at += 1
    return text


def _class(inner: str) -> str:
    negated = inner[0] in "!^" and len(inner) > 1
    body = inner[1:] if negated else inner
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", body)
    return f"[^/{escaped}]" if negated else f"[{escaped}]"
