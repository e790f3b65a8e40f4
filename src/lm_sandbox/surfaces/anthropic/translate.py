"""Anthropic's requests as what a model is asked; pure."""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lm_sandbox.errors import Invalid
from lm_sandbox.models.chat import ChatMessage, Image, ToolCall
from lm_sandbox.surfaces.anthropic.tools import choice_of, offered
from lm_sandbox.surfaces.anthropic.wire import (
    AnyBlock,
    Block,
    Conversation,
    MessageIn,
    MessagesIn,
    OtherBlock,
    Source,
)
from lm_sandbox.surfaces.generation import Prompt

# Claude Code's first block of a system prompt: no instruction, but different each time, so that nothing
# after it would ever be found in an engine's cache.
_BILLING = "x-anthropic-billing-header:"
_EFFORTS = {"xhigh": "high", "max": "high"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what of it means nothing here."""

    prompt: Prompt
    left_out: list[str]


@dataclass(slots=True)
class _Content:
    """Text with images in it, while it is put together."""

    text: str = ""
    images: list[Image] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        self.text += ("\n\n" if self.text and text else "") + text

    def add_image(self, url: str) -> None:
        self.images.append(Image(url, len(self.text)))


def conversation(body: Conversation) -> Asked:
    """Translates what a model is to go on with, or to count.

    Raises:
        Invalid: a part of it cannot be honoured; names it.
    """
    reader = _Reader()
    messages = [*reader.system(body.system), *reader.messages(body.messages)]
    tools, no_tools = offered(body.tools or (), body.tool_choice)
    sampling = choice_of(body.tool_choice) if tools else {}
    left_out = [*body.unknown(), *no_tools, *sorted(reader.left_out)]
    return Asked(Prompt(body.model, messages, tools, {**sampling, **_thinking(body)}), left_out)


def request(body: MessagesIn) -> Asked:
    """Translates a request; raises as `conversation`."""
    asked = conversation(body)
    sampling: dict[str, object] = {
        "max_tokens": body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
    }
    sampling = {name: value for name, value in sampling.items() if value is not None}
    named = body.metadata.user_id if body.metadata else None
    prompt = Prompt(
        model=asked.prompt.model,
        messages=asked.prompt.messages,
        tools=asked.prompt.tools,
        sampling={**asked.prompt.sampling, **sampling, **_format(body)},
        conversation=named,
        counted=True,
    )
    return Asked(prompt, asked.left_out)


class _Reader:
    """Reads messages, and collects what is left out."""

    def __init__(self) -> None:
        self.left_out: set[str] = set()

    def system(self, system: str | list[AnyBlock] | None) -> list[ChatMessage]:
        blocks = self._blocks(system or "")
        told = [block for block in blocks if not (block.text or "").startswith(_BILLING)]
        if len(told) < len(blocks):
            self.left_out.add("system.billing")
        text = self._content(told, "system").text
        return [ChatMessage("system", text)] if text else []

    def messages(self, messages: Sequence[MessageIn]) -> Iterator[ChatMessage]:
        begun = False
        for index, message in enumerate(messages):
            blocks, place = self._blocks(message.content), f"messages.{index}.content"
            if message.role == "assistant":
                yield self._assistant(blocks, place)
            elif message.role == "user":
                yield from self._user(blocks, place)
            else:
                text = self._content(blocks, place).text
                # Many templates take one system message, the first.
                yield (
                    ChatMessage("user", f"<system>\n{text}\n</system>")
                    if begun
                    else ChatMessage("system", text)
                )
            begun = begun or message.role != "system"

    def _assistant(self, blocks: list[Block], place: str) -> ChatMessage:
        calls = tuple(
            ToolCall(block.id or "", block.name or "", json.dumps(block.input or {}, ensure_ascii=False))
            for block in blocks
            if block.type == "tool_use"
        )
        content = self._content([block for block in blocks if block.type != "tool_use"], place)
        thought = "".join(block.thinking or "" for block in blocks if block.type == "thinking")
        text = None if calls and not content.text else content.text
        return ChatMessage("assistant", text, calls, reasoning=thought)

    def _user(self, blocks: list[Block], place: str) -> Iterator[ChatMessage]:
        for block in blocks:
            if block.type == "tool_result":
                told = self._content(self._blocks(block.content or ""), place)
                text = f"[error]\n{told.text}" if block.is_error else told.text
                moved = len(text) - len(told.text)
                images = tuple(Image(image.url, image.at + moved) for image in told.images)
                yield ChatMessage("tool", text, tool_call_id=block.tool_use_id or "", images=images)
        rest = [block for block in blocks if block.type != "tool_result"]
        content = self._content(rest, place)
        if content.text or content.images or not blocks:
            yield ChatMessage("user", content.text, images=tuple(content.images))

    def _blocks(self, content: str | list[AnyBlock]) -> list[Block]:
        if isinstance(content, str):
            return [Block(type="text", text=content)] if content else []
        self.left_out |= {f"content.{block.type}" for block in content if isinstance(block, OtherBlock)}
        return [block for block in content if isinstance(block, Block)]

    def _content(self, blocks: list[Block], place: str) -> _Content:
        content = _Content()
        for block in blocks:
            if block.type == "text":
                content.add_text(block.text or "")
            elif block.type == "image":
                content.add_image(_image(block, place))
            elif block.type == "document":
                content.add_text(self._document(block, place))
            elif block.type == "search_result":
                inner = self._blocks(block.content or "")
                content.add_text(_titled(block, self._content(inner, place).text))
        return content

    def _document(self, block: Block, place: str) -> str:
        source = block.source
        if isinstance(source, Source) and source.type == "text":
            return _titled(block, source.data or "")
        if isinstance(source, Source) and source.type == "content":
            return _titled(block, self._content(self._blocks(source.content or ""), place).text)
        raise Invalid(f"{place}: a document has to be text; turn it into text first.", field=place)


def _titled(block: Block, text: str) -> str:
    return f"{block.title}\n\n{text}" if block.title else text


def _image(block: Block, place: str) -> str:
    source = block.source
    if not isinstance(source, Source) or source.type != "base64" or not source.data:
        # An address would be fetched by the engine, from where this server is.
        raise Invalid(f"{place}: an image has to be sent itself, as Base64.", field=place)
    try:
        base64.b64decode(source.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{place}: an image has to be Base64.", field=place) from error
    return f"data:{source.media_type or 'image/png'};base64,{source.data}"


def _thinking(body: Conversation) -> dict[str, object]:
    wire: dict[str, object] = {}
    kwargs: dict[str, object] = {}
    thinking = body.thinking
    if thinking is not None and thinking.type in {"enabled", "disabled"}:
        kwargs["enable_thinking"] = thinking.type == "enabled"
        if thinking.type == "enabled" and thinking.budget_tokens:
            wire["thinking_budget_tokens"] = thinking.budget_tokens
    effort = body.output_config.effort if body.output_config else None
    if effort is not None:
        kwargs["reasoning_effort"] = wire["reasoning_effort"] = _EFFORTS.get(effort, effort)
    if kwargs:
        wire["chat_template_kwargs"] = kwargs
    return wire


def _format(body: MessagesIn) -> dict[str, object]:
    wanted = body.output_config.format if body.output_config else None
    if wanted is None:
        return {}
    if wanted.type != "json_schema" or wanted.schema_ is None:
        raise Invalid(
            "output_config.format has to be a json_schema with its schema.", field="output_config.format"
        )
    schema = {"name": "answer", "strict": True, "schema": wanted.schema_}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
