"""Which server process answers a request: the one with its session, or with the sandbox that it is for."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Receive

from lm_sandbox.errors import Invalid
from lm_sandbox.storage.servers import HeldElsewhere
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.mcp.caller import Caller
from lm_sandbox.surfaces.mcp.uris import read_uri

SESSION = "session\0"
SEPARATOR = "."


async def require_here(services: Services, caller: Caller, body: bytes = b"") -> None:
    """Lets a request be answered by this process.

    Raises:
        HeldElsewhere: it belongs to another one.
    """
    if caller.session is not None and caller.session.startswith(SESSION):
        # It is in the memory of the process that has opened it.
        holder = _of_mark(caller.session.rpartition(SEPARATOR)[2], services.servers.others())
        if holder is not None:
            raise HeldElsewhere(holder)
        return
    await services.mcp.sandboxes.locate(caller, _named(body))


def marked(session: bytes, server: str) -> bytes:
    """Writes into the name of a session which process has it."""
    return session + SEPARATOR.encode() + _mark(server).encode()


def unmarked(session: bytes) -> bytes:
    """Returns the name that the process itself knows."""
    return session.partition(SEPARATOR.encode())[0]


def again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read once more, then whatever comes."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def once_more() -> Message:
        return given.pop() if given else await receive()

    return once_more


def _mark(server: str) -> str:
    return hashlib.sha256(server.encode()).hexdigest()[:8]


def _of_mark(mark: str, servers: Iterable[str]) -> str | None:
    return next((server for server in servers if _mark(server) == mark), None)


def _named(body: bytes) -> str | None:
    """Finds the sandbox that a message names; what is no message is refused later."""
    try:
        asked: Any = json.loads(body or b"{}")
        params = asked.get("params") or {}
        named = (params.get("arguments") or {}).get("sandbox")
        if named is None and isinstance(params.get("uri"), str):
            named = read_uri(params["uri"])[0]
    except (ValueError, AttributeError, Invalid):
        return None
    return named if isinstance(named, str) else None
