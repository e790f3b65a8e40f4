"""Walks the values of a GGUF file, with bounds on every count, so that a hostile one costs little."""

import struct
from typing import BinaryIO

from lm_sandbox.errors import ModelFailed

MAX_STRING_BYTES = 4 * 1024 * 1024
MAX_ARRAY_ITEMS = 16_000_000
MAX_HEADER_BYTES = 512 * 1024 * 1024
MAX_KEPT_ITEMS = 4096
TRUNCATED = "The GGUF file is truncated: it ends within its header."

STRING, ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Scalar = int | float | bool


class GgufReader:
    """Reads values one after the other.

    Args:
        file: Open at its start.
        size: Of the file, in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, MAX_HEADER_BYTES)
        self.position = 0

    def value(self, kind: int) -> "str | Scalar | Items":
        """Reads a value of a type; of a long array, or one of texts, only the length is kept."""
        if kind == STRING:
            return self.text(MAX_STRING_BYTES)
        if kind == ARRAY:
            return self._array()
        return self._scalar(kind)

    def text(self, limit: int) -> str:
        return self.take(self.bounded("Q", limit, "bytes in a text")).decode(errors="replace")

    def bounded(self, code: str, limit: int, what: str) -> int:
        """Reads a count and refuses one over its limit."""
        count = self.number(code)
        if count > limit:
            raise ModelFailed(f"The GGUF file is broken: it claims {count} {what}.")
        return count

    def number(self, code: str) -> int:
        value: int = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]
        return value

    def take(self, size: int) -> bytes:
        self._spend(size)
        data = self._file.read(size)
        if len(data) < size:
            raise ModelFailed(TRUNCATED)
        return data

    def _array(self) -> "Items":
        kind = self.number("I")
        count = self.bounded("Q", MAX_ARRAY_ITEMS, "array items")
        if kind == STRING:
            for _ in range(count):
                self._skip(self.bounded("Q", MAX_STRING_BYTES, "bytes in a text"))
            return Items(count, ())
        if kind not in _SCALARS:
            raise ModelFailed(f"The GGUF file is broken: an array of unknown type {kind}.")
        if count <= MAX_KEPT_ITEMS:
            return Items(count, tuple(self._scalar(kind) for _ in range(count)))
        self._skip(count * struct.calcsize(_SCALARS[kind]))
        return Items(count, ())

    def _scalar(self, kind: int) -> Scalar:
        if kind not in _SCALARS:
            raise ModelFailed(f"The GGUF file is broken: a value of unknown type {kind}.")
        code = _SCALARS[kind]
        value: Scalar = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]
        return value

    def _skip(self, size: int) -> None:
        self._spend(size)
        self._file.seek(size, 1)

    def _spend(self, size: int) -> None:
        self._left -= size
        self.position += size
        if self._left < 0:
            raise ModelFailed(TRUNCATED)


class Items:
    """An array: how long it is, and its values where they are few numbers."""

    __slots__ = ("count", "values")

    def __init__(self, count: int, values: tuple[Scalar, ...]) -> None:
        self.count = count
        self.values = values
