"""Errors and streams as Anthropic's clients expect them."""

from secrets import token_hex

from fastapi import Response
from fastapi.responses import JSONResponse

from lm_sandbox.surfaces.errors import Failure
from lm_sandbox.surfaces.live import StreamWire
from lm_sandbox.surfaces.streams import sse

REQUEST_ID = "request-id"
_UNPROCESSABLE = 422
_SERVER_ERROR = 500
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def anthropic_error(failure: Failure) -> Response:
    """Writes a failure as an answer; whatever is wrong with a request is a 400."""
    status = 400 if failure.status == _UNPROCESSABLE else failure.status
    request_id = new_request_id()
    headers = {**failure.headers, REQUEST_ID: request_id}
    return JSONResponse({**_body(failure), "request_id": request_id}, status, headers)


def new_request_id() -> str:
    """Makes the id that a client shows with an error."""
    return f"req_{token_hex(12)}"


def _body(failure: Failure) -> dict[str, object]:
    default = "api_error" if failure.status >= _SERVER_ERROR else "invalid_request_error"
    error = {"type": _TYPES.get(failure.status, default), "message": failure.message}
    return {"type": "error", "error": error}


def _last_words(failure: Failure) -> bytes:
    return sse(_body(failure), "error")


SSE = StreamWire(
    media_type="text/event-stream",
    render=anthropic_error,
    last_words=_last_words,
    heartbeat=sse({"type": "ping"}, "ping"),
)
