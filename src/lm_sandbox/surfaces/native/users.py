"""/v1/users: an admin makes, lists, changes and shuts out users; a user may change its own password."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from lm_sandbox.identity.logins import EndedBy
from lm_sandbox.surfaces.deps import AdminCaller, AnyCaller, Deps, UnreadAdminCaller, visit_of
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.exchange import exchange_of
from lm_sandbox.surfaces.native.user_schemas import (
    LoggedOut,
    NewUserOut,
    OwnPasswordIn,
    PasswordIn,
    UserCreate,
    UserList,
    UserOut,
    UserPatch,
    plain,
)

ROUTER = APIRouter(prefix="/v1/users", tags=["users"], route_class=route_class(problem))


@ROUTER.post("", status_code=201)
async def create_user(
    body: UserCreate, request: Request, caller: UnreadAdminCaller, deps: Deps
) -> NewUserOut:
    """Makes a user; a password that was made is in this answer and nowhere else."""
    del caller
    _record(request, body)
    user, password = await deps.users.make(body.to_new())
    return NewUserOut.of_new(user, None if body.password else password)


@ROUTER.get("")
async def list_users(
    caller: AdminCaller,
    deps: Deps,
    name: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> UserList:
    """Lists all users, oldest first, also those from elsewhere who have come."""
    del caller
    page, more = await deps.users.page(after=after, limit=limit, name=name)
    return UserList(data=[UserOut.of(user) for user in page], next_after=page[-1].id if more else None)


@ROUTER.put("/self/password", status_code=204)
async def change_own_password(body: OwnPasswordIn, request: Request, caller: AnyCaller, deps: Deps) -> None:
    """Gives the caller another password and ends all its logins."""
    visit, old, new = visit_of(request), body.old.get_secret_value(), body.new.get_secret_value()
    await deps.gate.attempt(visit, lambda: deps.sign_in.change_password(caller, old, new, visit.address))


@ROUTER.get("/{user_id}")
async def show_user(user_id: str, caller: AdminCaller, deps: Deps) -> UserOut:
    """Tells about one user."""
    del caller
    return UserOut.of(await deps.users.find(user_id))


@ROUTER.patch("/{user_id}")
async def change_user(user_id: str, body: UserPatch, caller: AdminCaller, deps: Deps) -> UserOut:
    """Changes a user's scopes or quotas, or shuts the user out; it holds from the next request on."""
    del caller
    return UserOut.of(await deps.sign_in.change(user_id, body.to_change()))


@ROUTER.put("/{user_id}/password")
async def set_password(
    user_id: str, body: PasswordIn, request: Request, caller: UnreadAdminCaller, deps: Deps
) -> NewUserOut:
    """Gives a user another password and ends all its logins."""
    del caller
    _record(request, body)
    user, password = await deps.sign_in.set_password(user_id, plain(body.password))
    return NewUserOut.of_new(user, None if body.password else password)


@ROUTER.post("/{user_id}/logout")
async def log_out(user_id: str, caller: AdminCaller, deps: Deps) -> LoggedOut:
    """Ends all logins of a user."""
    del caller
    user = await deps.users.find(user_id)
    return LoggedOut(ended=await deps.sign_in.end_all(user.id, EndedBy.REVOKED))


@ROUTER.delete("/{user_id}", status_code=204)
async def delete_user(user_id: str, caller: AdminCaller, deps: Deps) -> None:
    """Forgets a user with all logins; what the user owns stays, for an admin to delete."""
    del caller
    await deps.users.delete(user_id)
    deps.tokens.forget()


def _record(request: Request, body: BaseModel) -> None:
    # Secrets are stars in it.
    exchange_of(request).asked = body.model_dump_json(exclude_none=True)
