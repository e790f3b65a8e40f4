import struct

from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.sandboxes.proxying.dns import answer, parse_query


def question(name: str, kind: int = 1, *, flags: int = 0x0100, count: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, flags, count, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_a_known_name_is_at_loopback() -> None:
    query = parse_query(question("PyPI.org"))
    assert query is not None
    assert query.name == "pypi.org"
    reply = answer(query, known=True)
    assert struct.unpack_from("!HHHHHH", reply) == (7, 0x8180, 1, 1, 0, 0)
    assert reply.endswith(bytes((127, 0, 0, 1)))


def test_an_unknown_name_does_not_exist() -> None:
    query = parse_query(question("evil.example"))
    assert query is not None
    assert struct.unpack_from("!HHHHHH", answer(query, known=False)) == (7, 0x8183, 1, 0, 0, 0)


def test_other_records_of_a_known_name_are_none() -> None:
    for kind in (28, 16, 65, 255):
        query = parse_query(question("pypi.org", kind))
        assert query is not None
        assert struct.unpack_from("!HHHHHH", answer(query, known=True)) == (7, 0x8180, 1, 0, 0, 0)


def test_what_is_no_plain_question_is_not_answered() -> None:
    good = question("pypi.org")
    for bad in (b"", good[:5], good[:-1], question("pypi.org", flags=0x8000), question("pypi.org", flags=0x2800),
                question("pypi.org", count=2), good[:12] + b"\xc0\x0c" + good[-4:], good[:-2] + b"\0\3"):  # fmt: skip
        assert parse_query(bad) is None


@given(st.binary(max_size=600))
def test_no_bytes_do_more_than_be_left_unanswered(noise: bytes) -> None:
    for data in (noise, question("x")[:12] + noise):
        query = parse_query(data)
        if query is not None:
            assert len(answer(query, known=True)) <= len(data) + 16
