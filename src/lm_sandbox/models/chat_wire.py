"""Messages as OpenAI's requests have them."""

import json

from lm_sandbox.models.chat import ChatMessage


def written(message: ChatMessage) -> dict[str, object]:
    """Writes one message; what would make llama.cpp fail on all of them is repaired."""
    wire: dict[str, object] = {"role": message.role, "content": _content(message)}
    if message.reasoning:
        wire["reasoning_content"] = message.reasoning
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _repaired(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _content(message: ChatMessage) -> object:
    text = message.content or ""
    if not message.images:
        return text
    parts: list[dict[str, object]] = []
    done = 0
    for image in message.images:
        if image.at > done:
            parts.append({"type": "text", "text": text[done : image.at]})
            done = image.at
        parts.append({"type": "image_url", "image_url": {"url": image.url}})
    if text[done:]:
        parts.append({"type": "text", "text": text[done:]})
    return parts


def _repaired(arguments: str) -> str:
    """Broken JSON in an earlier call makes llama.cpp fail on the whole conversation."""
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return json.dumps({"command": arguments})
    return arguments if isinstance(parsed, dict) else json.dumps({"command": arguments})
