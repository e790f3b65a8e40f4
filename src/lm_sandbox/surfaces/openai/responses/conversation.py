"""Turns items into the conversation that a model goes on from. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lm_sandbox.errors import Invalid, NotHonoured
from lm_sandbox.models.chat import ChatMessage, Image, Role, ToolCall
from lm_sandbox.surfaces.openai.responses.compacted import summary_in
from lm_sandbox.surfaces.openai.responses.input_items import (
    ApprovalRequestItem,
    ApprovalResponseItem,
    CompactionItem,
    FunctionCallItem,
    FunctionOutputItem,
    Item,
    MessageItem,
    Part,
    ShellCallItem,
    ShellOutputItem,
)

INTERRUPTED = "[the command was interrupted]"
REFUSED = "[the user did not allow this command]"
PICTURES = "data:image/"
EARLIER = "[what was said and done before]\n{summary}"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a run starts from.

    Attributes:
        messages: For the model; it ends with a message, or with calls that are answered or agreed to.
        agreed: Calls that the client has agreed to and that are not carried out yet.
    """

    messages: tuple[ChatMessage, ...]
    agreed: tuple[ToolCall, ...]


def file_ids(items: Sequence[Item]) -> list[str]:
    """Names the uploaded pictures that a conversation shows."""
    parts = [part for item in items if isinstance(item, MessageItem) for part in _parts(item.content)]
    return [part.file_id for part in parts if part.file_id is not None and part.type == "input_image"]


def read_items(items: Sequence[Item], pictures: Mapping[str, str]) -> Conversation:
    """Reads items in their order.

    Args:
        items: All that was said and done.
        pictures: The uploaded ones, by file id, as data URLs.

    Raises:
        Invalid: a call has no output or comes twice, an output has no call, or an approval no request.
        NotHonoured: a message has something that no model here is shown.
    """
    reader = _Reader(pictures)
    for index, item in enumerate(items):
        reader.read(item, f"input.{index}")
    return reader.conversation()


class _Reader:
    def __init__(self, pictures: Mapping[str, str]) -> None:
        self._pictures = pictures
        self._messages: list[ChatMessage] = []
        self._said: list[str] = []
        self._calls: list[ToolCall] = []
        self._open: dict[str, ToolCall] = {}
        self._asked: dict[str, ToolCall] = {}
        self._agreed: list[ToolCall] = []
        self._hosted: set[str] = set()

    def read(self, item: Item, field: str) -> None:
        if isinstance(item, MessageItem):
            self._message(item, field)
        elif isinstance(item, FunctionOutputItem):
            self._output(item.call_id, _text(item.output, field), field)
        elif isinstance(item, ShellOutputItem):
            self._output(item.call_id, "\n".join(output.told for output in item.output), field)
        elif isinstance(item, ApprovalResponseItem):
            self._answer(item, field)
        elif isinstance(item, CompactionItem):
            summary = summary_in(item.encrypted_content, field)
            self._message(MessageItem(role="user", content=EARLIER.format(summary=summary)), field)
        else:
            self._called(item)

    def conversation(self) -> Conversation:
        self._close_interrupted()
        agreed = [call for call in self._agreed if call.id in self._open]
        self._flush()
        self._require_answers(self._open.keys() - {call.id for call in agreed})
        return Conversation(tuple(self._messages), tuple(agreed))

    def _called(self, item: Item) -> None:
        if isinstance(item, FunctionCallItem):
            self._call(ToolCall(item.call_id, item.name, item.arguments))
        elif isinstance(item, ShellCallItem):
            # One that was asked for before is there already.
            if item.call_id not in self._asked:
                self._call(ToolCall(item.call_id, "bash", item.arguments))
            if item.is_hosted:
                self._hosted.add(item.call_id)
        elif isinstance(item, ApprovalRequestItem):
            self._asked[item.id] = ToolCall(item.id, item.name, item.arguments)
            self._call(self._asked[item.id])

    def _message(self, item: MessageItem, field: str) -> None:
        if item.role == "assistant":
            self._said.append(_text(item.content, f"{field}.content"))
            return
        self._close_interrupted()
        self._flush()
        self._require_answers(self._open)
        role: Role = "system" if item.role == "developer" else item.role
        text = _text(item.content, f"{field}.content")
        shown = [part for part in _parts(item.content) if _shows(part)]
        images = tuple(Image(self._picture(part, field), len(text)) for part in shown)
        self._messages.append(ChatMessage(role, text, images=images))

    def _call(self, call: ToolCall) -> None:
        if call.id in self._open:
            raise Invalid(f"input: the call {call.id!r} is there twice.", field="input")
        self._calls.append(call)
        self._open[call.id] = call

    def _output(self, call_id: str, told: str, field: str) -> None:
        if call_id not in self._open:
            raise Invalid(f"{field}.call_id: there is no call {call_id!r} before it.", field=field)
        self._flush()
        del self._open[call_id]
        self._messages.append(ChatMessage("tool", told, tool_call_id=call_id))

    def _answer(self, item: ApprovalResponseItem, field: str) -> None:
        call = self._asked.get(item.approval_request_id)
        if call is None:
            raise Invalid(
                f"{field}.approval_request_id: {item.approval_request_id!r} was not asked for.", field=field
            )
        if call in self._agreed:
            raise Invalid(f"{field}.approval_request_id: {call.id!r} was answered before.", field=field)
        if item.approve:
            self._agreed.append(call)
        else:
            self._output(call.id, f"{REFUSED} {item.reason or ''}".strip(), field)

    def _close_interrupted(self) -> None:
        """A response that ended within a command of its own has no output of it."""
        for call_id in [call_id for call_id in self._open if call_id in self._hosted]:
            self._output(call_id, INTERRUPTED, "input")

    def _flush(self) -> None:
        """Ends the assistant's turn: what it said and called is one message to a model."""
        if not self._said and not self._calls:
            return
        self._require_answers(self._open.keys() - {call.id for call in self._calls})
        said = "".join(self._said)
        content = None if self._calls and not said else said
        self._messages.append(ChatMessage("assistant", content, tuple(self._calls)))
        self._said, self._calls = [], []

    def _require_answers(self, calls: Iterable[str]) -> None:
        """Refuses calls that stay without an answer where the next message follows."""
        for call_id in calls:
            what = "approval" if call_id in self._asked else "output"
            raise Invalid(f"input: the call {call_id!r} has no {what} before what follows it.", field="input")

    def _picture(self, part: Part, field: str) -> str:
        url = part.image_url or self._pictures.get(part.file_id or "", "")
        if not url.startswith(PICTURES):
            raise NotHonoured(
                f"{field}: send a picture as a data: URL or as file_id; this server fetches none.",
                field=field,
            )
        return url


def _parts(content: str | list[Part]) -> list[Part]:
    return [] if isinstance(content, str) else content


def _shows(part: Part) -> bool:
    return part.type == "input_image"


def _text(content: str | list[Part], field: str) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part.text is None and part.refusal is None and not _shows(part):
            raise NotHonoured(f"{field}: {part.type!r} cannot be shown to a model here.", field=field)
    return "".join(part.text or part.refusal or "" for part in content)
