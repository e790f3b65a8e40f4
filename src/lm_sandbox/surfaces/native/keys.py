"""/v1/keys: an admin makes, lists, changes, rotates and revokes API keys; a caller may see itself."""

from typing import Annotated

from fastapi import APIRouter, Query

from lm_sandbox.surfaces.deps import AdminCaller, AnyCaller, Deps
from lm_sandbox.surfaces.errors import problem, route_class
from lm_sandbox.surfaces.native.key_schemas import (
    KeyCreate,
    KeyList,
    KeyOut,
    KeyPatch,
    KeyRotate,
    NewKeyOut,
    SelfOut,
)

ROUTER = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=route_class(problem))


@ROUTER.post("", status_code=201)
async def create_key(body: KeyCreate, caller: AdminCaller, deps: Deps) -> NewKeyOut:
    """Makes a key; its secret is in this answer and nowhere else."""
    del caller
    return NewKeyOut.of_issued(await deps.keys.make(body.to_new()))


@ROUTER.get("")
async def list_keys(
    caller: AdminCaller,
    deps: Deps,
    name: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> KeyList:
    """Lists all keys, oldest first, also those that work no more."""
    del caller
    page, more = await deps.keys.page(after=after, limit=limit, name=name)
    return KeyList(data=[KeyOut.of(key) for key in page], next_after=page[-1].id if more else None)


@ROUTER.get("/self")
async def show_self(caller: AnyCaller) -> SelfOut:
    """Tells who calls, and what it may do and take."""
    return SelfOut.of(caller)


@ROUTER.get("/{key_id}")
async def show_key(key_id: str, caller: AdminCaller, deps: Deps) -> KeyOut:
    """Tells about one key."""
    del caller
    return KeyOut.of(await deps.keys.find(key_id))


@ROUTER.patch("/{key_id}")
async def change_key(key_id: str, body: KeyPatch, caller: AdminCaller, deps: Deps) -> KeyOut:
    """Changes a key's name, scopes, quotas or time; it holds from the next request on."""
    del caller
    return KeyOut.of(await deps.keys.change(key_id, body.to_change()))


@ROUTER.post("/{key_id}/rotate")
async def rotate_key(key_id: str, body: KeyRotate, caller: AdminCaller, deps: Deps) -> NewKeyOut:
    """Gives a key a new secret; what was made with the old one still belongs to it."""
    del caller
    return NewKeyOut.of_issued(await deps.keys.rotate(key_id, body.overlap_s))


@ROUTER.delete("/{key_id}")
async def revoke_key(key_id: str, caller: AdminCaller, deps: Deps) -> KeyOut:
    """Makes a key worthless for ever; it stays in the list, and what it owns stays."""
    del caller
    return KeyOut.of(await deps.keys.revoke(key_id))
