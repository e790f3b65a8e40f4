"""A long conversation made short: what the user said stays, the rest becomes a summary by the model."""

import time
from collections.abc import Sequence

from lm_sandbox.agent.events import AnswerDelta, Event
from lm_sandbox.agent.request import RunRequest
from lm_sandbox.errors import UpstreamError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.openai.responses.compacted import compaction_item
from lm_sandbox.surfaces.openai.responses.input_items import Item, MessageItem
from lm_sandbox.surfaces.openai.responses.preparing import read_conversation
from lm_sandbox.surfaces.openai.responses.schemas import ResponseCreate
from lm_sandbox.surfaces.runs.draft import Body, usage_body
from lm_sandbox.surfaces.runs.items import named_item, new_id

LONGEST_SUMMARY = 2048
ASKED = (
    "Summarise this conversation for someone who goes on with it and sees nothing else of it: what was done, "
    "what was found, which files and names matter, what is left to do. Write the summary only."
)


async def compact(body: ResponseCreate, caller: Principal, deps: Services) -> Body:
    """Answers with the user's messages and one item that stands for all the rest.

    Raises:
        Invalid, NotHonoured, NotFound: as for a response.
        ContextTooLong: the model cannot read all of it.
        UpstreamError: the model said nothing.
    """
    read = await read_conversation(body, caller, deps)
    messages = [*body.opening(), *read.conversation.messages, ChatMessage("user", ASKED)]
    text: list[str] = []

    async def emit(event: Event) -> None:
        text.append(event.text if isinstance(event, AnswerDelta) else "")

    run = RunRequest(body.model, messages, max_tokens=LONGEST_SUMMARY)
    result = await deps.agent.run(caller, run, emit)
    summary = "".join(text).strip()
    if not summary:
        raise UpstreamError("The model wrote no summary.")
    return {
        "id": new_id("resp"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*_said([*read.history.items, *body.items()]), compaction_item(summary)],
        "usage": usage_body(result.usage),
    }


def _said(items: Sequence[Item]) -> list[Body]:
    return [
        named_item(item.model_dump(exclude_none=True))
        for item in items
        if isinstance(item, MessageItem) and item.role == "user"
    ]
