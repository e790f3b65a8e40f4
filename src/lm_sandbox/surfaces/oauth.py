"""/oauth/token: an access token for an API key, by client credentials (RFC 6749, section 4.4)."""

import base64
import binascii
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from lm_sandbox.errors import Invalid, NotHonoured, TooLarge, Unauthenticated
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.surfaces.deps import AnyCaller, Deps, Services, visit_of
from lm_sandbox.surfaces.errors import Failure, problem, raw_route_class

LONGEST_FORM = 16 * 1024
CODES = {401: "invalid_client", 403: "invalid_scope", 413: "invalid_request", 422: "invalid_request"}
GRANTS = frozenset({"client_credentials"})
FORM = "application/x-www-form-urlencoded"
FIELDS = {name: {"type": "string"} for name in ("grant_type", "client_id", "client_secret", "scope")}
DOCUMENTED = {"requestBody": {"required": True, "content": {FORM: {"schema": {"properties": FIELDS}}}}}


def oauth_error(failure: Failure) -> Response:
    """Writes an error as OAuth clients expect it."""
    code = CODES.get(failure.status)
    if failure.code == "unsupported_parameter":
        code = "unsupported_grant_type"
    if code is None:
        return problem(failure)
    status = 401 if code == "invalid_client" else 400
    headers = {**failure.headers, **({"WWW-Authenticate": "Basic"} if code == "invalid_client" else {})}
    return JSONResponse({"error": code, "error_description": failure.message}, status, headers)


ROUTER = APIRouter(tags=["oauth"], route_class=raw_route_class(oauth_error))
INTROSPECTION = APIRouter(tags=["oauth"], route_class=raw_route_class(problem))


class TokenOut(BaseModel):
    """An access token."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme
    expires_in: int
    scope: str


@ROUTER.post("/oauth/token", openapi_extra=DOCUMENTED)
async def give_token(request: Request, deps: Deps) -> TokenOut:
    """Gives a short-lived token for an API key: `client_id` is its id, `client_secret` the key itself."""
    form = await _read_form(request)
    if form.get("grant_type") not in GRANTS:
        raise NotHonoured("grant_type: only client_credentials is known here.", field="grant_type")
    caller = await _client(request, deps, form)
    made = await deps.tokens.issue(caller, _scopes(form.get("scope", "")))
    return TokenOut(
        access_token=made.value, expires_in=made.expires_in_s, scope=" ".join(sorted(made.scopes))
    )


@INTROSPECTION.post("/oauth/introspect", openapi_extra=DOCUMENTED)
async def introspect(request: Request, caller: AnyCaller, deps: Deps) -> dict[str, object]:
    """Tells whether a token works, to whom it belongs and to admins (RFC 7662)."""
    form = await _read_form(request)
    try:
        found = await deps.tokens.authenticate(form.get("token", ""))
    except Unauthenticated:
        return {"active": False}
    if not caller.owns(found.id):
        return {"active": False}
    scope = " ".join(sorted(found.scopes))
    return {"active": True, "sub": found.id, "client_id": found.id, "scope": scope, "token_type": "Bearer"}


@ROUTER.get("/.well-known/jwks.json")
async def show_keys(deps: Deps) -> dict[str, object]:
    """Tells the public keys that check tokens (RFC 7517)."""
    return {"keys": await deps.tokens.public_keys()}


@ROUTER.get("/.well-known/oauth-authorization-server")
async def show_metadata(request: Request, deps: Deps) -> dict[str, object]:
    """Tells OAuth clients what is where (RFC 8414)."""
    base = str(request.base_url).rstrip("/")
    return {
        "issuer": deps.tokens.issuer,
        "token_endpoint": f"{base}/oauth/token",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "grant_types_supported": sorted(GRANTS),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": sorted(Scope),
        "response_types_supported": [],
    }


async def _client(request: Request, deps: Services, form: dict[str, str]) -> Principal:
    basic = _basic(request.headers.get("authorization", ""))
    if basic is not None and "client_secret" in form:
        raise Invalid("The client is to be told in one way only.", field="client_secret")
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    caller = await deps.gate.enter_with_key(visit_of(request), secret)
    if caller.id != client_id:
        raise Unauthenticated("client_id is not the id of this API key.")
    return caller


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("What follows 'Basic' is not Base64.") from error
    return unquote_plus(client_id), unquote_plus(secret)


async def _read_form(request: Request) -> dict[str, str]:
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


def _scopes(text: str) -> frozenset[Scope]:
    unknown = set(text.split()) - set(Scope)
    if unknown:
        raise Invalid("scope: one of them is not known here.", field="scope")
    return frozenset(Scope(name) for name in text.split())
