"""Maps every error to HTTP, once, and each surface's own way to write it."""

import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dict_field
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from lm_sandbox.error_kinds import ErrorKind
from lm_sandbox.errors import Invalid, LimitReached, LmSandboxError, QuotaReached, Unavailable, UpstreamError
from lm_sandbox.storage.servers import HeldElsewhere
from lm_sandbox.surfaces.deps import asks_who_calls, authenticate
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.forwarding.hop import was_forwarded
from lm_sandbox.surfaces.protected_resource import challenge

LOG = logging.getLogger(__name__)

STATUS: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID: 422,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.NOT_HONOURED: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.GONE: 410,
    ErrorKind.CONFLICT: 409,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.UPSTREAM: 502,
    ErrorKind.EXHAUSTED: 507,
    ErrorKind.QUOTA: 429,
}
DEFAULT_RETRY_AFTER_S = 5
# What FastAPI says of bytes that are no UTF-8, and of numbers with more digits than Python reads.
UNREADABLE = (400, "There was an error parsing the body")
NO_TEXT = "The body is not JSON: it is no UTF-8, or has a number that is too long."
SURROGATES = "surrogates not allowed"
CHALLENGE = "WWW-Authenticate"
# Nobody reads it; the number is nginx's.
CLIENT_GONE = 499


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way out.

    Attributes:
        status: The HTTP status.
        code: Stable, for programs.
        message: For people.
        field: The dotted path of the field that is wrong, where one is.
        limit: The limit of a sandbox that is hit, where one is.
        headers: Such as `Retry-After`.
    """

    status: int
    code: str
    message: str
    field: str | None = None
    limit: str | None = None
    headers: Mapping[str, str] = dict_field(default_factory=dict)


Render = Callable[[Failure], Response]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def failure_of(error: Exception) -> Failure:
    """Turns any exception into what may be told; the unexpected is logged under an id."""
    if isinstance(error, LmSandboxError):
        return _expected(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, ClientDisconnect):
        return Failure(CLIENT_GONE, "client_gone", "The client went away.")
    if isinstance(error, UnicodeEncodeError) and error.reason == SURROGATES:
        # JSON can write half a character, which nothing can keep or send.
        return Failure(422, "invalid_request", "A text has a lone surrogate, which is no character.")
    reference = secrets.token_hex(4)
    LOG.error("unexpected error %s", reference, exc_info=error)
    return Failure(500, "internal_error", f"Something went wrong here; the log has it as {reference}.")


def failure_in(connection: HTTPConnection, error: Exception) -> Failure:
    """Does as `failure_of`, notes it, and tells who has no key that works where to get one."""
    failure = failure_of(error)
    exchange_of(connection).code = failure.code
    if CHALLENGE not in failure.headers:
        return failure
    return replace(failure, headers={**failure.headers, CHALLENGE: challenge(connection)})


def problem(failure: Failure) -> Response:
    """Writes RFC 9457 `application/problem+json`."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": failure.code.replace("_", " ").capitalize(),
        "status": failure.status,
        "detail": failure.message,
        "code": failure.code,
    }
    named = {"field": failure.field, "limit": failure.limit}
    body |= {name: value for name, value in named.items() if value is not None}
    return JSONResponse(body, failure.status, dict(failure.headers), media_type="application/problem+json")


def raw_route_class(render: Render) -> type[APIRoute]:
    """Makes the route class of a surface, which writes that surface's errors."""

    class RawRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            closed = asks_who_calls(self.dependant)

            async def handler(request: Request) -> Response:
                try:
                    if closed:
                        # Before the body is read: who has no key makes no work.
                        await authenticate(request)
                    return await handle(request)
                except HeldElsewhere as error:
                    # For the edge, which hands the request on; one that came from there was refused by all.
                    if not was_forwarded(request.scope):
                        raise
                    return render(failure_of(error))
                except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes an answer
                    return render(failure_in(request, error))

            return handler

    return RawRoute


def route_class(render: Render) -> type[APIRoute]:
    """Makes a route class that also reads every body as JSON.

    `curl -d` says that it sends a form, but no route of these takes one.
    """

    class SurfaceRoute(raw_route_class(render)):  # type: ignore[misc]
        def get_route_handler(self) -> Handler:
            handle: Handler = super().get_route_handler()

            async def handler(request: Request) -> Response:
                _read_as_json(request)
                return await handle(request)

            return handler

    return SurfaceRoute


def _read_as_json(request: Request) -> None:
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    request.scope["headers"] = [*headers, (b"content-type", b"application/json")]


def _expected(error: LmSandboxError) -> Failure:
    status = error.status if isinstance(error, UpstreamError) else STATUS[error.kind]
    headers: dict[str, str] = {}
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers[CHALLENGE] = "Bearer"
    if isinstance(error, Unavailable | QuotaReached):
        headers["Retry-After"] = str(error.retry_after_s or DEFAULT_RETRY_AFTER_S)
    wrong = error.field if isinstance(error, Invalid) else None
    limit = error.limit if isinstance(error, LimitReached) else None
    return Failure(status, error.code, error.message, wrong, limit, headers)


def _of_framework(error: HTTPException) -> Failure:
    if (error.status_code, error.detail) == UNREADABLE:
        return Failure(422, "invalid_json", NO_TEXT, "body")
    return Failure(error.status_code, "http_error", str(error.detail), headers=error.headers or {})


def _invalid(error: RequestValidationError) -> Failure:
    first = error.errors()[0]
    # Where something may be of several kinds, each says why it is not that one; the closest one counts.
    alike = [one for one in error.errors() if one["loc"][:2] == first["loc"][:2]]
    first = max(alike, key=lambda one: len(_place(one["loc"], error.body)))
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "it does not parse")
        return Failure(422, "invalid_json", f"The body is not JSON: {reason}.", "body")
    wrong = ".".join(_place(first["loc"], error.body)) or "body"
    return Failure(422, "invalid_request", f"{wrong}: {first['msg']}.", wrong)


def _place(loc: Sequence[int | str], body: object) -> list[str]:
    """Returns where in a request something is, without the names of the kinds that it could have been of."""
    if loc[:1] != ("body",):
        return [str(part) for part in loc if part not in {"query", "path"}]
    place: list[str] = []
    last = len(loc) - 1
    for number, part in enumerate(loc[1:], 1):
        if isinstance(body, dict):
            if part not in body and number < last:
                continue  # The name of the kind that it was taken for.
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            body = body[part]
        elif place:
            continue
        place.append(str(part))
    return place
