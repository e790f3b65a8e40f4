"""Whether the server is up and can work; the only routes besides the docs that need no key."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from lm_sandbox import __version__
from lm_sandbox.errors import DatabaseUnavailable
from lm_sandbox.surfaces.deps import Deps

ROUTER = APIRouter(tags=["health"])


class Health(BaseModel):
    """The server's own word."""

    status: str
    version: str = __version__


@ROUTER.get("/healthz")
async def healthz() -> Health:
    """Answers as long as the process does."""
    return Health(status="ok")


@ROUTER.get("/readyz")
async def readyz(deps: Deps, response: Response) -> Health:
    """Answers 503 while the database cannot be reached."""
    try:
        await deps.keys.count()
    except DatabaseUnavailable as error:
        response.status_code = 503
        response.headers["Retry-After"] = str(error.retry_after_s)
        return Health(status=error.message)
    return Health(status="ok")
