"""The item that stands for an earlier part of a conversation."""

import base64
import binascii
import json

from lm_sandbox.errors import Invalid
from lm_sandbox.surfaces.runs.items import Item, new_id

FOREIGN = "{field}.encrypted_content: this compaction was not made by this server."


def compaction_item(summary: str) -> Item:
    """Writes it."""
    # It is the client's own, who sends it back: there is nobody to hide it from.
    content = base64.b64encode(json.dumps({"summary": summary}).encode()).decode()
    return {"type": "compaction", "id": new_id("cmp"), "encrypted_content": content}


def summary_in(content: str, field: str) -> str:
    """Reads the summary out of an item that stands for an earlier conversation.

    Raises:
        Invalid: it was not made here.
    """
    try:
        summary = json.loads(base64.b64decode(content, validate=True))["summary"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise Invalid(FOREIGN.format(field=field), field=field) from error
    if not isinstance(summary, str):
        raise Invalid(FOREIGN.format(field=field), field=field)
    return summary
