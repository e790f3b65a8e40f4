"""Reads the header of a GGUF file without trusting it.

The format is described in the ggml repository, `docs/gguf.md`. Nothing is loaded: only the
metadata and the table of tensors are walked.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lm_sandbox.errors import ModelFailed
from lm_sandbox.models.gguf_reader import GgufReader, Items

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 65_536
MAX_TENSORS = 1_000_000
MAX_KEY_BYTES = 4096
MAX_DIMENSIONS = 8
MOST_LAYERS = 1024
LARGEST_NUMBER = 2**31 - 1
DEFAULT_ALIGNMENT = 32

_BLOCK = re.compile(r"blk\.(\d{1,4})\.")
_OF_ALL = (
    "general.architecture",
    "general.name",
    "general.alignment",
    "general.file_type",
    "tokenizer.chat_template",
)
# Words of a template that takes tools, and of one whose model thinks first.
_TOOL_MARKS = ("tools", "tool_call")
_THINKING_MARKS = ("<think>", "enable_thinking", "reasoning_effort", "<|channel|>")
_OF_ARCHITECTURE = (
    "context_length",
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.kv_lora_rank",
    "rope.dimension_count",
    "pooling_type",
)
Found = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the bytes of a model are.

    Attributes:
        layers: Of each layer.
        embedding: Of the table of tokens, which stays in host memory.
        output: Of what comes after the last layer.
        tied: Whether the table of tokens is that too; a GPU then gets it once more.
    """

    layers: tuple[int, ...] = ()
    embedding: int = 0
    output: int = 0
    tied: bool = False

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.layers) + self.embedding + self.output


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the metadata of a model says.

    Attributes:
        architecture: Such as `llama`.
        name: The model's own name, or an empty string.
        context_tokens: The context that it was trained for, where told.
        chat_template: Whether it carries one.
        tensors: How many tensors the file holds.
        weights: Where its bytes are.
        kv_elements: Numbers that each layer keeps of one token.
        embedding_length: Width of the model, 0 where not told.
        feed_forward_length: Width of its widest step, 0 where not told.
        vocabulary: Tokens that it knows, 0 where not told.
        pooling: Whether it says how it makes one embedding of many.
        parameters: Numbers in its tensors.
        file_type: What llama.cpp calls its quantisation, -1 where not told.
        tools: Whether its template knows tools.
        thinking: Whether its template knows reasoning.
    """

    architecture: str
    name: str
    context_tokens: int | None
    chat_template: bool
    tensors: int
    weights: Weights = Weights()
    kv_elements: tuple[int, ...] = ()
    embedding_length: int = 0
    feed_forward_length: int = 0
    vocabulary: int = 0
    pooling: bool = False
    parameters: int = 0
    file_type: int = -1
    tools: bool = False
    thinking: bool = False


def read_header(path: Path) -> GgufHeader:
    """Reads the header of a file.

    Raises:
        ModelFailed: it is no GGUF file, or a broken one; the message says what is wrong.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return _read(GgufReader(file, size), size)
    except OSError as error:
        raise ModelFailed(f"The model's file cannot be read: {error.strerror}.") from error


def _read(reader: GgufReader, size: int) -> GgufHeader:
    if reader.take(4) != MAGIC:
        raise ModelFailed("The file is not a GGUF model: it does not start with 'GGUF'.")
    version = reader.number("I")
    if version not in VERSIONS:
        raise ModelFailed(f"GGUF version {version} is not supported; convert the model again.")
    tensors = reader.bounded("Q", MAX_TENSORS, "tensors")
    found = _entries(reader, reader.bounded("Q", MAX_ENTRIES, "metadata entries"))
    architecture = found.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFailed("The GGUF file names no architecture.")
    offsets, parameters = _tensors(reader, tensors)
    template = str(found.get("tokenizer.chat_template", ""))
    alignment = max(1, _number(found, "general.alignment", DEFAULT_ALIGNMENT))
    start = -(-reader.position // alignment) * alignment
    own = {name: found.get(f"{architecture}.{name}") for name in _OF_ARCHITECTURE}
    layers = min(_number(own, "block_count"), MOST_LAYERS)
    feed_forward = own["feed_forward_length"]
    tokens = found.get("tokenizer.ggml.tokens")
    return GgufHeader(
        architecture=architecture,
        name=str(found.get("general.name", "")),
        context_tokens=_number(own, "context_length") or None,
        chat_template="tokenizer.chat_template" in found,
        tensors=tensors,
        weights=_weights(offsets, size - start, layers),
        kv_elements=_kv_elements(own, layers),
        embedding_length=_number(own, "embedding_length"),
        feed_forward_length=max(_numbers(feed_forward), default=0),
        vocabulary=tokens.count if isinstance(tokens, Items) else 0,
        pooling=own["pooling_type"] is not None,
        parameters=parameters,
        file_type=_number(found, "general.file_type", -1),
        tools=any(mark in template for mark in _TOOL_MARKS),
        thinking=any(mark in template for mark in _THINKING_MARKS),
    )


def _entries(reader: GgufReader, count: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(count):
        key = reader.text(MAX_KEY_BYTES)
        value = reader.value(reader.number("I"))
        if key in _OF_ALL or key == "tokenizer.ggml.tokens" or key.partition(".")[2] in _OF_ARCHITECTURE:
            found[key] = value
    return found


def _tensors(reader: GgufReader, count: int) -> tuple[list[tuple[int, str]], int]:
    """Where each tensor begins in the data, with its name, and how many numbers all of them hold."""
    found: list[tuple[int, str]] = []
    numbers = 0
    for _ in range(count):
        name = reader.text(MAX_KEY_BYTES)
        dimensions = reader.bounded("I", MAX_DIMENSIONS, "dimensions of a tensor")
        numbers += math.prod(reader.number("Q") for _ in range(dimensions))
        reader.take(4)
        found.append((reader.number("Q"), name))
    return sorted(found), numbers


def _weights(offsets: list[tuple[int, str]], data_bytes: int, layers: int) -> Weights:
    """Tells sizes from where the next tensor begins: that needs no table of types."""
    if not offsets:
        return Weights((0,) * layers)  # The first of several parts may hold none.
    if offsets[-1][0] >= data_bytes:
        raise ModelFailed("The GGUF file is truncated: not all of its tensors are in it.")
    of_layers = [0] * layers
    embedding = output = 0
    tied = True
    ends = [offset for offset, _ in offsets[1:]] + [data_bytes]
    for (offset, name), end in zip(offsets, ends, strict=True):
        block = _BLOCK.match(name)
        if block is not None and int(block[1]) < layers:
            of_layers[int(block[1])] += end - offset
        elif name.startswith("token_embd."):
            embedding += end - offset
        else:
            tied = tied and name != "output.weight"
            output += end - offset
    return Weights(tuple(of_layers), embedding, output, tied)


def _kv_elements(own: Found, layers: int) -> tuple[int, ...]:
    if rank := _number(own, "attention.kv_lora_rank"):
        return (rank + _number(own, "rope.dimension_count"),) * layers
    heads = _numbers(own["attention.head_count"])
    shared = _numbers(own["attention.head_count_kv"]) or heads
    width = _number(own, "embedding_length") // max(1, *heads) if heads else 0
    key = _number(own, "attention.key_length", width)
    value = _number(own, "attention.value_length", width)
    each = shared if len(shared) == layers else (max(shared, default=0),) * layers
    return tuple(count * (key + value) for count in each)


def _number(found: Found, name: str, default: int = 0) -> int:
    value = found.get(name)
    return value if isinstance(value, int) and 0 <= value <= LARGEST_NUMBER else default


def _numbers(value: object) -> tuple[int, ...]:
    """A number that may be one for all layers or one for each."""
    values = value.values if isinstance(value, Items) else (value,)
    return tuple(n for n in values if isinstance(n, int) and 0 <= n <= LARGEST_NUMBER)
