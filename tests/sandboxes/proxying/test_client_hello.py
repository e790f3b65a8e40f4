import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.proxying.client_hello import MAX_BYTES, is_whole, server_name


def hello(name: str | None) -> bytes:
    """The first message of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message, cut into records of a few bytes each."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("name", ["pypi.org", "a.very.long.name.example", None])
def test_the_name_that_a_client_asks_for_is_found(name: str | None) -> None:
    assert is_whole(hello(name))
    assert server_name(hello(name)) == name


@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_is_found_however_the_message_is_cut(size: int) -> None:
    data = in_records(hello("pypi.org"), size)
    assert server_name(data) == "pypi.org"


def test_every_beginning_of_it_is_not_whole() -> None:
    data = hello("pypi.org")
    assert not any(is_whole(data[:size]) for size in range(len(data)))


def test_a_second_name_is_refused() -> None:
    data = bytearray(hello("pypi.org"))
    at = data.index(b"pypi.org") - 9
    extension = bytes(data[at : at + 17])
    doubled = bytes(data[:at]) + extension + bytes(data[at:])
    fixed = bytearray(doubled)
    for place, size in ((3, 2), (6, 3), (_extensions_at(data), 2)):
        length = int.from_bytes(fixed[place : place + size]) + len(extension)
        fixed[place : place + size] = length.to_bytes(size)
    with pytest.raises(Invalid, match="twice"):
        server_name(bytes(fixed))


def _extensions_at(data: bytes | bytearray) -> int:
    at = 5 + 4 + 2 + 32
    at += 1 + data[at]
    at += 2 + int.from_bytes(data[at : at + 2])
    return at + 1 + data[at]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n", b"\x80", bytes((22, 2, 1, 0, 1, 1)), bytes((22, 3, 1, 0, 0)),
     bytes((22, 3, 1, 0, 1, 2)), bytes((22, 3, 1, 0, 4, 1, 255, 255, 255)), bytes((22, 3, 1)) + bytes(MAX_BYTES)],
)  # fmt: skip
def test_what_is_no_client_hello_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        is_whole(data)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(noise: bytes) -> None:
    for data in (noise, bytes((22, 3, 1)) + len(noise).to_bytes(2) + noise,
                 bytes((22, 3, 1)) + (len(noise) + 4).to_bytes(2) + b"\x01" + len(noise).to_bytes(3) + noise):  # fmt: skip
        try:
            if is_whole(data):
                assert server_name(data) is None or isinstance(server_name(data), str)
        except Invalid:
            continue


@given(st.data())
def test_a_bent_message_never_shows_another_name(data: st.DataObject) -> None:
    good = bytearray(hello("pypi.org"))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        name = server_name(bytes(good)) if is_whole(bytes(good)) else None
    except Invalid:
        return
    assert name is None or len(name) <= len(good)
