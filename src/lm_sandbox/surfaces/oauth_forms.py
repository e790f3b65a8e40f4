"""The forms that OAuth clients send, and how its errors are written (RFC 6749, sections 2.3, 4 and 5.2)."""

import base64
import binascii
import re
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.errors import Invalid, TooLarge, Unauthenticated
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.errors import Failure, problem

LONGEST_FORM = 16 * 1024
CODES = {401: "invalid_client", 403: "invalid_scope", 413: "invalid_request", 422: "invalid_request"}
OWN_CODES = {
    "invalid_grant": "invalid_grant",
    "user_disabled": "invalid_grant",
}
FORM = "application/x-www-form-urlencoded"
CLIENT = re.compile(r"[\x21-\x7e]{1,128}")


def documented(*names: str) -> dict[str, object]:
    """Describes a form for the documentation of the API."""
    schema = {"properties": {name: {"type": "string"} for name in names}}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


def oauth_error(failure: Failure) -> Response:
    """Writes an error as OAuth clients expect it."""
    return _written(failure, "unsupported_grant_type")


def revocation_error(failure: Failure) -> Response:
    """Writes an error as RFC 7009 has it."""
    return _written(failure, "unsupported_token_type")


def _written(failure: Failure, unsupported: str) -> Response:
    code = OWN_CODES.get(failure.code) or CODES.get(failure.status)
    if failure.code == "unsupported_parameter":
        code = unsupported
    if code is None:
        return problem(failure)
    status = 401 if code == "invalid_client" else 400
    headers = {name: value for name, value in failure.headers.items() if name != "WWW-Authenticate"}
    if code == "invalid_client":
        headers["WWW-Authenticate"] = "Basic"
    return JSONResponse({"error": code, "error_description": failure.message}, status, headers)


async def read_form(request: Request) -> dict[str, str]:
    """Reads the body as a form.

    Raises:
        TooLarge: it is too long.
        Invalid: it is none, or has a field twice.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise TooLarge("The form is too long.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError as error:
        raise Invalid(f"The body is to be a form, {FORM}.", field="body") from error
    if len({name for name, _ in pairs}) < len(pairs):
        raise Invalid("A field is there more than once.", field="body")
    return dict(pairs)


def required(form: dict[str, str], name: str) -> str:
    """Returns a field.

    Raises:
        Invalid: it is not there.
    """
    value = form.get(name, "")
    if not value:
        raise Invalid(f"{name}: it is missing.", field=name)
    return value


def scopes_in(form: dict[str, str]) -> frozenset[Scope]:
    """Returns what is asked for.

    Raises:
        Invalid: a scope is not known here.
    """
    named = form.get("scope", "").split()
    if set(named) - set(Scope):
        raise Invalid("scope: one of them is not known here.", field="scope")
    return frozenset(Scope(name) for name in named)


def client_in(form: dict[str, str]) -> str | None:
    """Returns what a client without a secret calls itself.

    Raises:
        Invalid: it cannot be a name.
    """
    client = form.get("client_id")
    if client is not None and not CLIENT.fullmatch(client):
        raise Invalid("client_id: it has up to 128 letters, digits and signs.", field="client_id")
    return client


def basic(header: str) -> tuple[str, str] | None:
    """Reads `Authorization: Basic`; None where it is something else.

    Raises:
        Unauthenticated: it is not whole.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("What follows 'Basic' is not Base64.") from error
    return unquote_plus(client_id), unquote_plus(secret)
