"""/oauth/introspect: whether a key or a token works, for whom and for what (RFC 7662)."""

from fastapi import APIRouter, Request

from lm_sandbox.errors import Unauthenticated
from lm_sandbox.identity.logins import is_refresh_token
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.tokens import is_token
from lm_sandbox.surfaces.deps import AnyCaller, Deps, Services
from lm_sandbox.surfaces.errors import problem, raw_route_class
from lm_sandbox.surfaces.oauth_forms import documented, read_form

ROUTER = APIRouter(tags=["oauth"], route_class=raw_route_class(problem))
INACTIVE: dict[str, object] = {"active": False}


@ROUTER.post("/oauth/introspect", openapi_extra=documented("token", "token_type_hint"))
async def introspect(request: Request, caller: AnyCaller, deps: Deps) -> dict[str, object]:
    """Tells whether a key or a token works, to whom it belongs and to admins."""
    token = (await read_form(request)).get("token", "")
    try:
        owner, told = await _look(deps, token)
    except Unauthenticated:
        return INACTIVE
    if not caller.owns(owner.id):
        return INACTIVE
    scope = " ".join(sorted(owner.scopes))
    about = {"active": True, "sub": owner.id, "username": owner.name, "scope": scope, **told}
    return {name: value for name, value in about.items() if value != ""}


async def _look(deps: Services, token: str) -> tuple[Principal, dict[str, object]]:
    if is_refresh_token(token):
        return await _refresh_token(deps, token)
    if not is_token(token):
        owner = await deps.keys.authenticate(token)
        return owner, {"client_id": owner.id, "token_type": "api_key"}
    if deps.issuers.knows(token):
        return await _foreign_token(deps, token)
    owner = await deps.tokens.authenticate(token)
    stated = await deps.tokens.read(token)
    return owner, {
        "client_id": stated.client,
        "token_type": "Bearer",
        "iss": deps.tokens.issuer,
        "aud": deps.tokens.issuer,
        "iat": int(stated.issued_at.timestamp()),
        "exp": int(stated.ends.timestamp()),
        "jti": stated.id,
    }


async def _foreign_token(deps: Services, token: str) -> tuple[Principal, dict[str, object]]:
    owner = await deps.issuers.authenticate(token)
    admitted = await deps.issuers.read(token)
    return owner, {
        "client_id": admitted.client,
        "token_type": "Bearer",
        "iss": admitted.identity.address,
        "iat": int(admitted.issued_at),
        "exp": int(admitted.ends),
        "jti": admitted.id,
    }


async def _refresh_token(deps: Services, token: str) -> tuple[Principal, dict[str, object]]:
    found = await deps.logins.find(token)
    owner = await deps.keys.owner(found.login.user_id) if found is not None else None
    if found is None or owner is None or not deps.logins.takes(found):
        raise Unauthenticated("This refresh token does not work.")
    login = found.login
    about = Principal(owner.id, owner.name, login.scopes)
    return about, {
        "client_id": login.client,
        "token_type": "refresh_token",
        "iat": int(login.created_at.timestamp()),
        "exp": int(found.expires_at.timestamp()),
    }
