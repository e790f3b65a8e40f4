"""/oauth/token and /oauth/revoke: tokens for API keys and for users, until they are given back.

Sources: RFC 6749, sections 4.3, 4.4 and 6; RFC 7009.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from lm_sandbox.errors import Invalid, NotHonoured, Unauthenticated
from lm_sandbox.identity.logins import is_refresh_token
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.sign_in import Asked, Grant
from lm_sandbox.identity.tokens import AccessToken, is_token
from lm_sandbox.surfaces.deps import Deps, Services, visit_of
from lm_sandbox.surfaces.errors import raw_route_class
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.oauth_forms import (
    basic,
    client_in,
    documented,
    oauth_error,
    read_form,
    required,
    revocation_error,
    scopes_in,
)

GRANTS = ("client_credentials", "password", "refresh_token")
FIELDS = ("client_id", "client_secret", "username", "password", "refresh_token", "scope")

ROUTER = APIRouter(tags=["oauth"], route_class=raw_route_class(oauth_error))
REVOCATION = APIRouter(tags=["oauth"], route_class=raw_route_class(revocation_error))
KEY_PREFIX = "lms_"


class TokenOut(BaseModel):
    """An access token, and for users what gives the next one."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme
    expires_in: int
    scope: str
    refresh_token: str | None = None


@ROUTER.post(
    "/oauth/token", openapi_extra=documented("grant_type", *FIELDS), response_model_exclude_none=True
)
async def give_token(request: Request, deps: Deps) -> TokenOut:
    """Gives a short-lived token for an API key, a user's password, or a refresh token."""
    form = await read_form(request)
    match form.get("grant_type"):
        case "client_credentials":
            return await _for_key(request, deps, form)
        case "password":
            return await _for_password(request, deps, form)
        case "refresh_token":
            return await _for_refresh_token(request, deps, form)
    raise NotHonoured(f"grant_type: it is one of {', '.join(GRANTS)}.", field="grant_type")


@REVOCATION.post("/oauth/revoke", openapi_extra=documented("token", "token_type_hint"))
async def revoke_token(request: Request, deps: Deps) -> dict[str, object]:
    """Makes a token worthless; with a refresh token its whole login. Who has it may do so."""
    token = required(await read_form(request), "token")
    if is_refresh_token(token):
        exchange_of(request).principal = await deps.sign_in.revoke(token)
    elif is_token(token):
        if deps.issuers.knows(token):
            raise NotHonoured("This token is revoked by its issuer only.", field="token")
        try:
            owner = await deps.tokens.authenticate(token)
            await deps.tokens.revoke(token)
        except Unauthenticated:
            # A token that works no more is what was asked for.
            return {}
        exchange_of(request).principal = owner
    elif token.startswith(KEY_PREFIX):
        raise NotHonoured("API keys are revoked by an admin: see /v1/keys.", field="token")
    return {}


async def _for_key(request: Request, deps: Services, form: dict[str, str]) -> TokenOut:
    caller = await _client(request, deps, form)
    exchange_of(request).principal = caller
    return _out(await deps.tokens.issue(caller, scopes_in(form)))


async def _for_password(request: Request, deps: Services, form: dict[str, str]) -> TokenOut:
    name, password = required(form, "username"), required(form, "password")
    visit = visit_of(request)
    asked = Asked(visit.address, client_in(form), scopes_in(form))
    return await _granted(request, deps, lambda: deps.sign_in.by_password(name, password, asked))


async def _for_refresh_token(request: Request, deps: Services, form: dict[str, str]) -> TokenOut:
    token = required(form, "refresh_token")
    asked = Asked(visit_of(request).address, client_in(form), scopes_in(form))
    return await _granted(request, deps, lambda: deps.sign_in.by_refresh_token(token, asked))


async def _granted(request: Request, deps: Services, work: Callable[[], Awaitable[Grant]]) -> TokenOut:
    grant = await deps.gate.attempt(visit_of(request), work)
    exchange_of(request).principal = grant.user
    return _out(grant.access, grant.refresh)


async def _client(request: Request, deps: Services, form: dict[str, str]) -> Principal:
    by_header = basic(request.headers.get("authorization", ""))
    if by_header is not None and "client_secret" in form:
        raise Invalid("The client is to be told in one way only.", field="client_secret")
    client_id, secret = by_header or (form.get("client_id", ""), form.get("client_secret", ""))
    caller = await deps.gate.enter_with_key(visit_of(request), secret)
    if caller.id != client_id:
        raise Unauthenticated("client_id is not the id of this API key.")
    return caller


def _out(access: AccessToken, refresh: str | None = None) -> TokenOut:
    scope = " ".join(sorted(access.scopes))
    return TokenOut(
        access_token=access.value, expires_in=access.expires_in_s, scope=scope, refresh_token=refresh
    )
