"""What a response goes on from: the stored responses before it, or a conversation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_sandbox.agent.conversation_store import ConversationStore, KeptItem
from lm_sandbox.agent.request import Shell
from lm_sandbox.agent.run_store import RunStore
from lm_sandbox.errors import Conflict, Invalid
from lm_sandbox.identity.principals import Principal
from lm_sandbox.surfaces.openai.responses.input_items import ITEMS, Item
from lm_sandbox.surfaces.runs.draft import RUNNING, Body, Draft
from lm_sandbox.surfaces.runs.record import response_body

LONGEST_CHAIN = 1000
LONGEST_NAME = 128


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


async def read_kept(kept: ConversationStore, caller: Principal, conversation_id: str) -> History:
    """Returns what is in a conversation.

    Raises:
        NotFound: it is not there.
    """
    sandbox_id = (await kept.find(caller, conversation_id)).sandbox_id
    items = [json.loads(item.document) for item in await kept.items(caller, conversation_id)]
    return History(ITEMS.validate_python(items), sandbox_id)


@dataclass(frozen=True, slots=True)
class Continued:
    """A conversation that a response goes on with: what came in and what came of it is added to it."""

    kept: ConversationStore
    caller: Principal
    conversation_id: str
    shell: Shell | None

    async def __call__(self, draft: Draft) -> None:
        """Takes a response that has ended by itself.

        Raises:
            NotFound: the conversation was deleted meanwhile.
            Conflict: it is full.
        """
        items = [*draft.asked.input, *draft.writer.output]
        await self.kept.append(self.caller, self.conversation_id, kept_items(items))
        if self.shell is not None and self.shell.sandbox_id:
            await self.kept.settle(self.conversation_id, self.shell.sandbox_id)


def kept_items(items: Sequence[Body]) -> list[KeptItem]:
    """Writes named items as a conversation keeps them.

    Raises:
        Invalid: a name is none.
    """
    for item in items:
        name = item["id"]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise Invalid(f"items: an id has 1 to {LONGEST_NAME} printable characters.", field="items")
    return [KeptItem(str(item["id"]), json.dumps(item)) for item in items]
