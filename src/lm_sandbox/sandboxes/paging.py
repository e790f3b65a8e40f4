"""Pages of lists, by the id that ended the page before. Pure."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class HasId(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Names it."""
        ...


T = TypeVar("T", bound=HasId)


def page_of(items: Sequence[T], after: str | None, limit: int) -> tuple[list[T], bool]:
    """Returns what follows the one named `after`, and whether there is still more behind it.

    An `after` that is not there any more starts from the beginning.
    """
    start = next((place for place, item in enumerate(items, 1) if item.id == after), 0)
    return list(items[start : start + limit]), len(items) > start + limit
