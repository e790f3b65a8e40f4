"""/v1/conversations: items that are kept here, for responses to go on from."""

import json
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from lm_sandbox.agent.conversation_store import KeptConversation, KeptItem
from lm_sandbox.errors import NotFound
from lm_sandbox.surfaces.deps import Deps, ModelCaller
from lm_sandbox.surfaces.errors import route_class
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.paging import After, Limit, Order, list_body
from lm_sandbox.surfaces.openai.responses.history import kept_items
from lm_sandbox.surfaces.openai.responses.input_items import Item
from lm_sandbox.surfaces.openai.responses.schemas import Metadata
from lm_sandbox.surfaces.runs.items import named_item

ROUTER = APIRouter(prefix="/v1/conversations", tags=["openai"], route_class=route_class(openai_error))
MOST_AT_ONCE = 20
Items = Annotated[list[Item], Field(max_length=MOST_AT_ONCE)]
Json = dict[str, object]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class ConversationCreate(_Open):
    """A conversation to begin."""

    items: Items | None = None
    metadata: Metadata | None = None


class ConversationUpdate(_Open):
    """New metadata, in place of all the old."""

    metadata: Metadata | None


class ItemsCreate(_Open):
    """Items to add."""

    items: Items


@ROUTER.post("")
async def create_conversation(body: ConversationCreate, caller: ModelCaller, deps: Deps) -> Json:
    """Begins a conversation; `conversation` in a response goes on with it and is added to it."""
    made = await deps.kept_conversations.add(caller, body.metadata or {}, _named(body.items or []))
    return _body(made)


@ROUTER.get("/{conversation_id}")
async def show_conversation(conversation_id: str, caller: ModelCaller, deps: Deps) -> Json:
    """Shows a conversation."""
    return _body(await deps.kept_conversations.find(caller, conversation_id))


@ROUTER.post("/{conversation_id}")
async def update_conversation(
    conversation_id: str, body: ConversationUpdate, caller: ModelCaller, deps: Deps
) -> Json:
    """Gives a conversation other metadata."""
    return _body(await deps.kept_conversations.change(caller, conversation_id, body.metadata or {}))


@ROUTER.delete("/{conversation_id}")
async def delete_conversation(conversation_id: str, caller: ModelCaller, deps: Deps) -> Json:
    """Forgets a conversation with its items; responses that were made in it stay."""
    await deps.kept_conversations.delete(caller, conversation_id)
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


@ROUTER.post("/{conversation_id}/items")
async def create_items(conversation_id: str, body: ItemsCreate, caller: ModelCaller, deps: Deps) -> Json:
    """Adds items at the end, twenty at a time at most."""
    items = _named(body.items)
    await deps.kept_conversations.append(caller, conversation_id, items)
    return list_body([_item(item) for item in items], more=False)


@ROUTER.get("/{conversation_id}/items")
async def list_items(  # noqa: PLR0913, PLR0917 - what may stand in the query
    conversation_id: str,
    caller: ModelCaller,
    deps: Deps,
    after: After = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> Json:
    """Lists what was said and done, the latest first."""
    items = await deps.kept_conversations.items(caller, conversation_id)
    if order == "desc":
        items.reverse()
    start = next((place for place, item in enumerate(items, 1) if item.id == after), 0)
    return list_body([_item(item) for item in items[start : start + limit]], more=len(items) > start + limit)


@ROUTER.get("/{conversation_id}/items/{item_id}")
async def show_item(conversation_id: str, item_id: str, caller: ModelCaller, deps: Deps) -> Json:
    """Shows an item."""
    for item in await deps.kept_conversations.items(caller, conversation_id):
        if item.id == item_id:
            return _item(item)
    raise NotFound(f"There is no item {item_id[:100]!r} in this conversation.")


@ROUTER.delete("/{conversation_id}/items/{item_id}")
async def delete_item(conversation_id: str, item_id: str, caller: ModelCaller, deps: Deps) -> Json:
    """Takes an item out of a conversation, which is the answer."""
    await deps.kept_conversations.remove(caller, conversation_id, item_id)
    return _body(await deps.kept_conversations.find(caller, conversation_id))


def _named(items: list[Item]) -> list[KeptItem]:
    return kept_items([named_item(item.model_dump(exclude_none=True)) for item in items])


def _item(item: KeptItem) -> Json:
    document: Json = json.loads(item.document)
    return document


def _body(conversation: KeptConversation) -> Json:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at.timestamp()),
        "metadata": dict(conversation.metadata),
    }
