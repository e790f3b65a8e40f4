"""Reads the header of a GGUF file without trusting it.

The format is described in the ggml repository, `docs/gguf.md`. Nothing is loaded: only the
metadata is walked, with bounds on every count and length, so that a hostile file costs little.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lm_sandbox.errors import ModelFailed

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 65_536
MAX_TENSORS = 1_000_000
MAX_KEY_BYTES = 4096
MAX_STRING_BYTES = 4 * 1024 * 1024
MAX_ARRAY_ITEMS = 16_000_000
MAX_HEADER_BYTES = 512 * 1024 * 1024

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_WANTED = ("general.architecture", "general.name", "tokenizer.chat_template")


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the metadata of a model says.

    Attributes:
        architecture: Such as `llama`.
        name: The model's own name, or an empty string.
        context_tokens: The context that it was trained for, where told.
        chat_template: Whether it carries one.
        tensors: How many tensors the file holds.
    """

    architecture: str
    name: str
    context_tokens: int | None
    chat_template: bool
    tensors: int


def read_header(path: Path) -> GgufHeader:
    """Reads the header of a file.

    Raises:
        ModelFailed: it is no GGUF file, or a broken one; the message says what is wrong.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size).header()
    except OSError as error:
        raise ModelFailed(f"The model's file cannot be read: {error.strerror}.") from error


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, MAX_HEADER_BYTES)

    def header(self) -> GgufHeader:
        if self._take(4) != MAGIC:
            raise ModelFailed("The file is not a GGUF model: it does not start with 'GGUF'.")
        version = self._number("I")
        if version not in VERSIONS:
            raise ModelFailed(f"GGUF version {version} is not supported; convert the model again.")
        tensors = self._bounded("Q", MAX_TENSORS, "tensors")
        found = self._entries(self._bounded("Q", MAX_ENTRIES, "metadata entries"))
        architecture = found.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise ModelFailed("The GGUF file names no architecture.")
        context = found.get(f"{architecture}.context_length")
        return GgufHeader(
            architecture=architecture,
            name=str(found.get("general.name", "")),
            context_tokens=context if isinstance(context, int) and context > 0 else None,
            chat_template="tokenizer.chat_template" in found,
            tensors=tensors,
        )

    def _entries(self, count: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(count):
            key = self._string(MAX_KEY_BYTES)
            value = self._value(self._number("I"))
            if key in _WANTED or key.endswith(".context_length"):
                found[key] = value
        return found

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string(MAX_STRING_BYTES)
        if kind == _ARRAY:
            self._skip_array()
            return None
        return self._scalar(kind)

    def _skip_array(self) -> None:
        kind = self._number("I")
        count = self._bounded("Q", MAX_ARRAY_ITEMS, "array items")
        if kind == _STRING:
            for _ in range(count):
                self._string(MAX_STRING_BYTES)
        elif kind in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        else:
            raise ModelFailed(f"The GGUF file is broken: an array of unknown type {kind}.")

    def _scalar(self, kind: int) -> int | float | bool:
        if kind not in _SCALARS:
            raise ModelFailed(f"The GGUF file is broken: a value of unknown type {kind}.")
        code = _SCALARS[kind]
        value: int | float | bool = struct.unpack(f"<{code}", self._take(struct.calcsize(code)))[0]
        return value

    def _string(self, limit: int) -> str:
        return self._take(self._bounded("Q", limit, "bytes in a text")).decode(errors="replace")

    def _bounded(self, code: str, limit: int, what: str) -> int:
        count = self._number(code)
        if count > limit:
            raise ModelFailed(f"The GGUF file is broken: it claims {count} {what}.")
        return count

    def _number(self, code: str) -> int:
        value: int = struct.unpack(f"<{code}", self._take(struct.calcsize(code)))[0]
        return value

    def _skip(self, size: int) -> None:
        self._spend(size)
        self._file.seek(size, 1)

    def _take(self, size: int) -> bytes:
        self._spend(size)
        data = self._file.read(size)
        if len(data) < size:
            raise ModelFailed("The GGUF file is truncated: it ends within its header.")
        return data

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ModelFailed("The GGUF file is truncated: it ends within its header.")
