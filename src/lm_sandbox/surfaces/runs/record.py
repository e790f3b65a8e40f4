"""The record of a run, and what it says when it is read again."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from lm_sandbox.agent.run_store import RunHead, RunRecord
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.surfaces.runs.draft import RUNNING, Body, Draft, Status
from lm_sandbox.surfaces.runs.items import named_item


def new_record(draft: Draft, owner: str, sandbox_id: str | None) -> RunRecord:
    """Describes a response as it is now."""
    return RunRecord(
        id=draft.id,
        owner=owner,
        created_at=datetime.now(UTC),
        document=json.dumps(draft.body()),
        inputs=json.dumps({"items": list(draft.asked.input), "sandbox_id": sandbox_id}),
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


def items_of(messages: Sequence[ChatMessage]) -> list[Body]:
    """Writes a conversation as input items; its pictures are not kept."""
    return [named_item(item) for message in messages for item in _items(message)]


def _items(message: ChatMessage) -> Iterator[Body]:
    if message.role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": message.tool_call_id or "",
            "output": message.content or "",
        }
        return
    if message.content:
        yield {"type": "message", "role": message.role, "content": message.content}
    for call in message.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
