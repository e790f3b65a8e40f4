"""Whose containers and programs they are: the engine is asked, and what belongs to others is not there."""

from collections import OrderedDict
from http import HTTPStatus

import httpx
from pydantic import AliasPath, Field

from lm_sandbox.errors import DriverUnavailable, NotFound
from lm_sandbox.sandboxes.drivers.docker.answers import Answer
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import OWNER_LABEL
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.rules import Permitted, Subject

KEPT = 4096
MISSING = "No such container or program."


class Labelled(Answer):
    """`GET /containers/{id}/json`."""

    labels: dict[str, str] | None = Field(None, validation_alias=AliasPath("Config", "Labels"))


class Placed(Answer):
    """`GET /exec/{id}/json`."""

    container: str = Field(alias="ContainerID")


class Holdings:
    """Knows what belongs to one server.

    Args:
        http: A client of the engine.
        owner: The server's name.
    """

    def __init__(self, http: httpx.AsyncClient, owner: str) -> None:
        self._http = http
        self._owner = owner
        # An id means the same for ever, so what was once found to be its own stays so.
        self._own: OrderedDict[str, None] = OrderedDict()

    async def require(self, permitted: Permitted) -> None:
        """Lets a request pass that is about the server's own.

        Raises:
            NotFound: there is no such thing, or it is somebody else's.
            DriverUnavailable: the engine does not tell.
        """
        if permitted.subject is Subject.ENGINE or permitted.id in self._own:
            return
        container = permitted.id
        if permitted.subject is Subject.PROGRAM:
            container = Placed.model_validate_json(await self._look(f"/exec/{permitted.id}/json")).container
        found = Labelled.model_validate_json(await self._look(f"/containers/{container}/json"))
        if (found.labels or {}).get(OWNER_LABEL) != self._owner:
            raise NotFound(MISSING)
        self._own[permitted.id] = None
        if len(self._own) > KEPT:
            self._own.popitem(last=False)

    async def _look(self, path: str) -> bytes:
        answer = await self._http.get(path)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound(MISSING)
        if not answer.is_success:
            raise DriverUnavailable("The engine does not say whose that is.")
        return answer.content
