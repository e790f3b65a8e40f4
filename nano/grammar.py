"""Phrase templates: `[a|b|c]` is one of them, nested as deep as needed, `{slot}` stays for later."""

import zlib
from random import Random

HELD_OUT_IN = 12


def expand(template: str, rng: Random) -> str:
    """Chooses at every bracket; spaces that an empty choice leaves are closed up."""
    text, _ = _sequence(template, 0, rng)
    return " ".join(text.split()).replace(" ,", ",")


def held_out(phrase: str) -> bool:
    """Whether a phrase, its slots unfilled, is kept for evaluation and never trained on."""
    return zlib.crc32(phrase.lower().encode()) % HELD_OUT_IN == 0


def _sequence(template: str, position: int, rng: Random) -> tuple[str, int]:
    pieces: list[str] = []
    while position < len(template) and template[position] not in "|]":
        if template[position] == "[":
            piece, position = _choice(template, position + 1, rng)
        else:
            piece = template[position]
            position += 1
        pieces.append(piece)
    return "".join(pieces), position


def _choice(template: str, position: int, rng: Random) -> tuple[str, int]:
    options: list[str] = []
    while True:
        option, position = _sequence(template, position, rng)
        options.append(option)
        position += 1
        if template[position - 1] == "]":
            return rng.choice(options), position
