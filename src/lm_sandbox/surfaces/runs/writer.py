"""Turns the events of a run into the items of a response and its stream events, in order."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterator

from lm_sandbox.agent.events import (
    AnswerDelta,
    CommandFinished,
    CommandOutput,
    CommandProposed,
    CommandStarted,
    Event,
    FunctionCalled,
    ReasoningDelta,
    TurnFinished,
)
from lm_sandbox.agent.request import Consent
from lm_sandbox.sandboxes.output import Stream
from lm_sandbox.surfaces.runs import items
from lm_sandbox.surfaces.runs.items import Item

StreamEvent = dict[str, object]


class ItemWriter:
    """Builds the output of one response; `output` holds the finished items."""

    def __init__(self) -> None:
        self.output: list[Item] = []
        self._open: _Text | None = None
        self._shell_id = ""
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    def write(self, event: Event) -> Iterator[StreamEvent]:
        """Takes the next event of the run and yields what a stream tells of it."""
        if isinstance(event, AnswerDelta):
            yield from self._text(_Answer, event.text)
        elif isinstance(event, ReasoningDelta):
            yield from self._text(_Reasoning, event.text)
        elif isinstance(event, TurnFinished):
            yield from self.close()
        else:
            yield from self._act(event)

    def _act(self, event: Event) -> Iterator[StreamEvent]:
        if isinstance(event, CommandStarted):
            yield from self._started(event)
        elif isinstance(event, CommandOutput):
            yield from self._wrote(event)
        elif isinstance(event, CommandFinished):
            yield from self._finished(event)
        elif isinstance(event, FunctionCalled):
            yield from self._called(event)
        elif isinstance(event, CommandProposed):
            yield from self._proposed(event)

    def close(self) -> Iterator[StreamEvent]:
        """Ends the text that is open, if one is."""
        if self._open is None:
            return
        yield from self._open.done(self._index)
        yield from self._done(self._open.item("completed"))
        self._open = None

    @property
    def _index(self) -> int:
        return len(self.output)

    def _text(self, kind: "type[_Text]", text: str) -> Iterator[StreamEvent]:
        if not isinstance(self._open, kind):
            yield from self.close()
            self._open = kind()
            yield self._added(self._open.item("in_progress"))
            yield from self._open.start(self._index)
        yield self._open.delta(self._index, text)

    def _started(self, event: CommandStarted) -> Iterator[StreamEvent]:
        environment = items.in_container(event.sandbox_id)
        yield from self._shell_call(event.call_id, event.command, None, environment)
        self._shell_id = items.new_id("sho")
        self._decoders = {s: codecs.getincrementaldecoder("utf-8")("replace") for s in Stream}
        yield self._added(items.shell_output(self._shell_id, event.call_id, [], "in_progress"))

    def _shell_call(
        self, call_id: str, command: str, timeout_s: float | None, environment: Item
    ) -> Iterator[StreamEvent]:
        item_id = items.new_id("sh")
        where = {"output_index": self._index, "command_index": 0}
        yield self._added(items.shell_call(item_id, call_id, items.action([]), environment, "in_progress"))
        yield {"type": "response.shell_call_command.added", **where, "command": ""}
        yield {"type": "response.shell_call_command.delta", **where, "delta": command}
        yield {"type": "response.shell_call_command.done", **where, "command": command}
        action = items.action([command], timeout_s)
        yield from self._done(items.shell_call(item_id, call_id, action, environment, "completed"))

    def _proposed(self, event: CommandProposed) -> Iterator[StreamEvent]:
        if event.consent is Consent.HANDED_OVER:
            yield from self._shell_call(event.call_id, event.command, event.timeout_s, {"type": "local"})
            return
        item = items.approval_request(event.call_id, event.command)
        yield self._added(item)
        yield from self._done(item)

    def _called(self, event: FunctionCalled) -> Iterator[StreamEvent]:
        item_id = items.new_id("fc")
        call = (item_id, event.call_id, event.name)
        where = {"item_id": item_id, "output_index": self._index}
        kind = "response.function_call_arguments"
        yield self._added(items.function_call(*call, "", "in_progress"))
        yield {"type": f"{kind}.delta", **where, "delta": event.arguments}
        yield {"type": f"{kind}.done", **where, "name": event.name, "arguments": event.arguments}
        yield from self._done(items.function_call(*call, event.arguments, "completed"))

    def _wrote(self, event: CommandOutput) -> Iterator[StreamEvent]:
        text = self._decoders[event.chunk.stream].decode(event.chunk.data)
        if text:
            yield {
                "type": "response.shell_call_output_content.delta",
                "item_id": self._shell_id,
                "output_index": self._index,
                "command_index": 0,
                "delta": {event.chunk.stream.value: text},
            }

    def _finished(self, event: CommandFinished) -> Iterator[StreamEvent]:
        output = [items.output_content(event.result)]
        yield {
            "type": "response.shell_call_output_content.done",
            "item_id": self._shell_id,
            "output_index": self._index,
            "command_index": 0,
            "output": output,
        }
        yield from self._done(items.shell_output(self._shell_id, event.call_id, output, "completed"))

    def _added(self, item: Item) -> StreamEvent:
        return {"type": "response.output_item.added", "output_index": self._index, "item": item}

    def _done(self, item: Item) -> Iterator[StreamEvent]:
        yield {"type": "response.output_item.done", "output_index": self._index, "item": item}
        self.output.append(item)


class _Text(ABC):
    """A message or reasoning that grows."""

    event = ""

    def __init__(self) -> None:
        self.id = items.new_id("msg")
        self.text = ""

    @abstractmethod
    def item(self, status: str) -> Item: ...

    def start(self, index: int) -> Iterator[StreamEvent]:
        del index
        return iter(())

    def delta(self, index: int, text: str) -> StreamEvent:
        self.text += text
        return {**self._where(f"{self.event}.delta", index), "delta": text, "logprobs": []}

    def done(self, index: int) -> Iterator[StreamEvent]:
        yield {**self._where(f"{self.event}.done", index), "text": self.text, "logprobs": []}

    def _where(self, name: str, index: int) -> StreamEvent:
        return {"type": name, "item_id": self.id, "output_index": index, "content_index": 0}


class _Answer(_Text):
    event = "response.output_text"

    def item(self, status: str) -> Item:
        return items.message(self.id, self.text, status)

    def start(self, index: int) -> Iterator[StreamEvent]:
        part = items.text_part("")
        yield {**self._where("response.content_part.added", index), "part": part}

    def done(self, index: int) -> Iterator[StreamEvent]:
        yield from super().done(index)
        part = items.text_part(self.text)
        yield {**self._where("response.content_part.done", index), "part": part}


class _Reasoning(_Text):
    event = "response.reasoning_text"

    def item(self, status: str) -> Item:
        return items.reasoning(self.id, self.text, status)
