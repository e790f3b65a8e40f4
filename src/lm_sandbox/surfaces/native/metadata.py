"""Which metadata those have that are listed."""

from typing import Annotated

from fastapi import Depends, Query

from lm_sandbox.errors import Invalid


async def get_metadata(
    metadata: Annotated[list[str] | None, Query(description="key=value; all must be there")] = None,
) -> dict[str, str]:
    """Reads what is asked for.

    Raises:
        Invalid: a piece of metadata has no `=`.
    """
    pairs = [entry.partition("=") for entry in metadata or []]
    if any(not sign for _, sign, _ in pairs):
        raise Invalid("metadata is given as key=value.", field="metadata")
    return {key: value for key, _, value in pairs}


WantedMetadata = Annotated[dict[str, str], Depends(get_metadata)]
