"""Lists as OpenAI's clients page through them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=100)]
Order = Annotated[Literal["asc", "desc"], Query()]
After = Annotated[str | None, Query(max_length=8192)]


def list_body(data: Sequence[dict[str, object]], *, more: bool) -> dict[str, object]:
    """Writes one page."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }
