"""What a tool answers, before it is written for the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Details = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that a model may look at."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Told:
    """An answer.

    Attributes:
        text: For the model.
        details: For programs; hosts do not show these to models.
        image: Beside the text.
    """

    text: str
    details: Details = field(default_factory=dict)
    image: Image | None = None


def plain(text: str) -> str:
    """Makes of a text with bytes that are no UTF-8 one that can be sent."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
