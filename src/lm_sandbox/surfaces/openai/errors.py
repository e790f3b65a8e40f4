"""Errors as OpenAI's clients expect them."""

from fastapi import Response
from fastapi.responses import JSONResponse

from lm_sandbox.surfaces.errors import Failure

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
SERVER_ERROR = 500


def error_body(failure: Failure) -> dict[str, object]:
    """Returns the `error` object of a failure."""
    default = "server_error" if failure.status >= SERVER_ERROR else "invalid_request_error"
    return {
        "error": {
            "message": failure.message,
            "type": _TYPES.get(failure.status, default),
            "param": failure.field,
            "code": failure.code,
        }
    }


def openai_error(failure: Failure) -> Response:
    """Writes a failure as an answer."""
    return JSONResponse(error_body(failure), failure.status, dict(failure.headers))
