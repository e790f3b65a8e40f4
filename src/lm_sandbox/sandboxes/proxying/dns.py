"""Answers name look-ups of a sandbox without asking anybody (RFC 1035). Pure.

An allowed name leads to the proxy's own address, any other does not exist. As no question ever
leaves the machine, nothing can be told to the outside in one.
"""

import struct
from dataclasses import dataclass

HEADER = struct.Struct("!HHHHHH")
TAIL = struct.Struct("!HH")
ANSWER = struct.Struct("!HHHIH4s")
RESPONSE, RECURSION_DESIRED, RECURSION_AVAILABLE, OPCODE = 0x8000, 0x0100, 0x0080, 0x7800
NO_ERROR, FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED = 0, 1, 3, 4
TYPE_A, CLASS_IN = 1, 1
NAME_AT_HEADER = 0xC00C
LONGEST_LABEL, LONGEST_NAME = 63, 255
TTL_S = 1
LOOPBACK = bytes((127, 0, 0, 1))
LARGEST_QUERY = 1024


@dataclass(frozen=True, slots=True)
class Query:
    """A question.

    Attributes:
        number: Goes back with the answer.
        flags: As they came.
        name: In lower case, without the final dot.
        kind: The type of record.
        question: The bytes that go back with the answer.
    """

    number: int
    flags: int
    name: str
    kind: int
    question: bytes


def parse_query(data: bytes) -> Query | None:
    """Reads a question; None where it is none that can be answered."""
    if not HEADER.size < len(data) <= LARGEST_QUERY:
        return None
    number, flags, questions, *_ = HEADER.unpack_from(data)
    if flags & (RESPONSE | OPCODE) or questions != 1:
        return None
    labels, at = [], HEADER.size
    while at < len(data) and data[at]:
        size = data[at]
        if size > LONGEST_LABEL or at + size - HEADER.size > LONGEST_NAME:
            return None
        labels.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    end = at + 1 + TAIL.size
    if end > len(data):
        return None
    kind, family = TAIL.unpack_from(data, at + 1)
    name = ".".join(label.decode("ascii", "replace") for label in labels).lower()
    return Query(number, flags, name, kind, data[HEADER.size : end]) if family == CLASS_IN else None


def answer(query: Query, *, known: bool) -> bytes:
    """Writes the answer: loopback for the address of a known name, nothing for its other records."""
    address = known and query.kind == TYPE_A
    flags = RESPONSE | RECURSION_AVAILABLE | (query.flags & RECURSION_DESIRED)
    flags |= NO_ERROR if known else NO_SUCH_NAME
    header = HEADER.pack(query.number, flags, 1, int(address), 0, 0)
    record = ANSWER.pack(NAME_AT_HEADER, TYPE_A, CLASS_IN, TTL_S, len(LOOPBACK), LOOPBACK)
    return header + query.question + (record if address else b"")
