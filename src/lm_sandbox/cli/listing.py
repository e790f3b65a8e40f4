"""Lists of the API, all their pages."""

from typing import Any

import httpx

from lm_sandbox.cli.connection import check

PAGE = 100


async def every(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """Returns every row of a list; raises as `check` does."""
    rows: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        query = {"limit": str(PAGE)} | ({"after": after} if after else {})
        page = (await check(await client.get(path, params=query))).json()
        rows += page["data"]
        after = page["next_after"]
        if after is None:
            return rows
