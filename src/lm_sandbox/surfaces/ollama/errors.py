"""Errors and streams as Ollama's clients expect them: `{"error": "..."}`, and lines of JSON."""

from fastapi import Response
from fastapi.responses import JSONResponse

from lm_sandbox.surfaces.errors import Failure
from lm_sandbox.surfaces.live import StreamWire
from lm_sandbox.surfaces.streams import json_line

UNPROCESSABLE = 422


def ollama_error(failure: Failure) -> Response:
    """Writes a failure as an answer; Ollama says 400 for whatever is wrong with a request."""
    status = 400 if failure.status == UNPROCESSABLE else failure.status
    return JSONResponse({"error": failure.message}, status, dict(failure.headers))


def error_line(failure: Failure) -> bytes:
    """Writes a failure as the last line of a stream."""
    return line({"error": failure.message})


def line(content: object) -> bytes:
    """Writes one line of a stream."""
    return f"{json_line(content)}\n".encode(errors="replace")


NDJSON = StreamWire(media_type="application/x-ndjson", render=ollama_error, last_words=error_line)
