"""Stored responses: what a response goes on from, and how its own record is written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lm_sandbox.agent.run_store import RunHead, RunRecord, RunStore
from lm_sandbox.errors import Conflict
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.openai.responses.draft import RUNNING, Body, Draft, Status
from lm_sandbox.surfaces.openai.responses.input_items import ITEMS, Item
from lm_sandbox.surfaces.openai.responses.items import new_id

LONGEST_CHAIN = 1000
PREFIXES = {"message": "msg", "function_call_output": "fco", "shell_call_output": "sho"}


@dataclass(frozen=True, slots=True)
class History:
    """What came before a response.

    Attributes:
        items: All input and output of the responses before it, the oldest first.
        sandbox_id: The sandbox that the latest of them had.
    """

    items: Sequence[Item] = ()
    sandbox_id: str | None = None


async def read_history(runs: RunStore, caller: Principal, response_id: str | None) -> History:
    """Follows the chain of responses back to its start.

    Raises:
        NotFound: one of them is not there.
        Conflict: the latest has not ended.
    """
    links: list[list[Any]] = []
    sandbox_id: str | None = None
    while response_id is not None and len(links) < LONGEST_CHAIN:
        record = await runs.find(caller, response_id)
        document: dict[str, Any] = response_body(record)
        if document["status"] in {status.value for status in RUNNING}:
            raise Conflict(f"The response {response_id!r} is still at work; wait for its end or cancel it.")
        stored = json.loads(record.inputs)
        links.append([*stored["items"], *document["output"]])
        sandbox_id = sandbox_id or stored["sandbox_id"]
        response_id = document["previous_response_id"]
    return History(ITEMS.validate_python([item for link in reversed(links) for item in link]), sandbox_id)


def new_record(draft: Draft, owner: str, sandbox_id: str | None) -> RunRecord:
    """Describes a response as it is now."""
    return RunRecord(
        id=draft.id,
        owner=owner,
        created_at=datetime.now(UTC),
        document=json.dumps(draft.body()),
        inputs=json.dumps({"items": _named(draft), "sandbox_id": sandbox_id}),
    )


def response_body(record: RunHead) -> Body:
    """Reads a stored response; one whose server died has failed."""
    body: Body = json.loads(record.document)
    if not record.running and body["status"] in {status.value for status in RUNNING}:
        body["status"] = Status.FAILED.value
        body["error"] = {"code": "server_error", "message": "The server was stopped during this response."}
    return body


def input_items(record: RunRecord) -> list[Body]:
    """Returns the input of a stored response."""
    stored: list[Body] = json.loads(record.inputs)["items"]
    return stored


def _named(draft: Draft) -> list[Body]:
    """Writes the input items, each with an id."""
    return [_named_item(item.model_dump(exclude_none=True)) for item in draft.request.items()]


def _named_item(item: Body) -> Body:
    if item["type"] == "message" and isinstance(item["content"], str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": item["content"]}]}
    if "id" in item:
        return item
    return {"id": new_id(PREFIXES.get(str(item["type"]), "item")), "status": "completed", **item}
