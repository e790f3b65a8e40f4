"""A run as markdown, for chat clients that know no tools, and back from what they send.

Each command is a `bash` block followed by a `text` block with what the model was told. A client
sends this text back as the assistant's earlier message; `parse` finds the tool calls in it again, so
that the model sees its own calls and never learns to make up output.
"""

import json
import re
from collections.abc import Iterator

from lm_sandbox.models.chat import ChatMessage, ToolCall

_STEP = re.compile(
    r"^(?P<a>`{3,})bash\n(?P<command>.*?)\n(?P=a)\n"
    r"(?P<b>`{3,})text\n(?P<told>.*?)\n(?P=b)\n+",
    re.DOTALL | re.MULTILINE,
)


def render_step(command: str, told: str) -> str:
    """Writes one command and what came of it, to be followed by more markdown."""
    return f"{_block('bash', command)}\n{_block('text', told)}\n\n"


def parse(content: str) -> list[ChatMessage]:
    """Finds the steps in an assistant's message; without any it comes back as it is."""
    return list(_messages(content))


def _messages(content: str) -> Iterator[ChatMessage]:
    position = 0
    for number, step in enumerate(_STEP.finditer(content)):
        if step.start() != position:
            break
        call = ToolCall(id=f"call_{number}", name="bash", arguments=_arguments(step["command"]))
        yield ChatMessage(role="assistant", content=None, tool_calls=(call,))
        yield ChatMessage(role="tool", content=step["told"], tool_call_id=call.id)
        position = step.end()
    if position == 0 or content[position:].strip():
        yield ChatMessage(role="assistant", content=content[position:])


def _block(language: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _arguments(command: str) -> str:
    return json.dumps({"command": command})
