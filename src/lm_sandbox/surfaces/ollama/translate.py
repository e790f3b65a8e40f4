"""Ollama's requests as what a model is asked; pure."""

import base64
import binascii
import json
from collections.abc import Iterator
from secrets import token_hex

from lm_sandbox.errors import Invalid, NotHonoured
from lm_sandbox.models.chat import ChatMessage, Image, ToolCall
from lm_sandbox.surfaces.generation import Prompt
from lm_sandbox.surfaces.ollama.wire import (
    FUNCTION,
    ChatIn,
    GenerateIn,
    Generation,
    MessageIn,
    ToolCallIn,
    ToolIn,
)

_KINDS = ((b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"), (b"BM", "image/bmp"))


def chat_prompt(body: ChatIn) -> Prompt:
    """Translates a chat.

    Raises:
        Invalid: a part of it cannot be honoured; names it.
    """
    _refuse(body, ("logprobs", "top_logprobs"))
    return Prompt(
        model=body.model,
        messages=chat_messages(body.messages),
        tools=[_tool(index, tool) for index, tool in enumerate(body.tools or ()) if tool.type in FUNCTION],
        sampling=_sampling(body),
    )


def generate_prompt(body: GenerateIn) -> Prompt:
    """Translates a prompt; raises as `chat_prompt`."""
    _refuse(body, ("logprobs", "top_logprobs", "template", "suffix", "context", "width", "height", "steps"))
    if body.raw:
        _refuse(body, ("system", "images", "think", "format"), " together with raw")
        return Prompt(model=body.model, text=body.prompt or "", sampling=_sampling(body))
    opening = [ChatMessage("system", body.system)] if body.system else []
    asked = ChatMessage("user", body.prompt or "", images=_images(body.images, "images"))
    return Prompt(model=body.model, messages=[*opening, asked], sampling=_sampling(body))


def chat_messages(messages: list[MessageIn]) -> list[ChatMessage]:
    """Translates messages. Ollama's calls and results have no ids, so they are joined by name and order."""
    return list(_messages(messages))


def _tool(index: int, tool: ToolIn) -> dict[str, object]:
    if tool.function is None:
        raise Invalid(f"tools.{index} needs a function.", field=f"tools.{index}.function")
    return {"type": "function", "function": tool.function.model_dump()}


def _messages(messages: list[MessageIn]) -> Iterator[ChatMessage]:
    waiting: list[ToolCall] = []
    for index, message in enumerate(messages):
        calls = tuple(_call(call) for call in message.tool_calls or ())
        answers: str | None = None
        if calls:
            waiting = list(calls)
        if message.role == "tool":
            answers = message.tool_call_id or _answered(message.tool_name, waiting)
        yield ChatMessage(
            role=message.role,
            content=None if calls and not message.content else message.content or "",
            tool_calls=calls,
            tool_call_id=answers,
            reasoning=message.thinking or "",
            images=_images(message.images, f"messages.{index}.images"),
        )


def _call(call: ToolCallIn) -> ToolCall:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call.id or f"call_{token_hex(4)}", call.function.name, text)


def _answered(name: str | None, waiting: list[ToolCall]) -> str:
    """Takes the call out that a result is for: the first of that name, else the first."""
    found = next((call for call in waiting if call.name == name), waiting[0] if waiting else None)
    if found is None:
        return "call_unknown"
    waiting.remove(found)
    return found.id


def _images(images: list[str] | None, field: str) -> tuple[Image, ...]:
    return tuple(Image(_data_url(image, field)) for image in images or ())


def _data_url(image: str, field: str) -> str:
    data = image.partition(",")[2] if image.startswith("data:") else image
    try:
        head = base64.b64decode(data, validate=True)[:16]
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{field}: an image has to be Base64.", field=field) from error
    kind = next((kind for mark, kind in _KINDS if head.startswith(mark)), "image/jpeg")
    return f"data:{kind};base64,{data}"


def _sampling(body: Generation) -> dict[str, object]:
    sampling = body.options.sampling() if body.options else {}
    if body.think is not None:
        wanted: dict[str, object] = {"enable_thinking": body.think is not False}
        if isinstance(body.think, str):
            wanted["reasoning_effort"] = sampling["reasoning_effort"] = body.think
        sampling["chat_template_kwargs"] = wanted
    if body.format:
        sampling["response_format"] = _response_format(body.format)
    return sampling


def _response_format(wanted: str | dict[str, object]) -> dict[str, object]:
    if wanted == "json":
        return {"type": "json_object"}
    if isinstance(wanted, str):
        raise Invalid(f'format: {wanted[:50]!r} is unknown; send "json" or a JSON schema.', field="format")
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": wanted}}


def _refuse(body: Generation, names: tuple[str, ...], more: str = "") -> None:
    for name in names:
        if getattr(body, name):
            raise NotHonoured(f"{name} is not supported{more}; leave it out.", field=name)
