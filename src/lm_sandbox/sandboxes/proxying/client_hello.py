"""Finds the server name in the first bytes of a TLS connection (RFC 8446, RFC 6066). Pure and bounded."""

from lm_sandbox.errors import Invalid

MAX_BYTES = 32 * 1024
RECORD_BYTES = 5
LARGEST_RECORD = 16 * 1024 + 256
HANDSHAKE, MAJOR_VERSION, CLIENT_HELLO = 22, 3, 1
SERVER_NAME, HOST_NAME = 0, 0
# Fatal alerts, as answers that every client understands.
ACCESS_DENIED = bytes((21, 3, 3, 0, 2, 2, 49))
UNRECOGNIZED_NAME = bytes((21, 3, 3, 0, 2, 2, 112))


def looks_like_tls(data: bytes) -> bool:
    """Whether the first byte is that of a handshake."""
    return data[:1] == bytes((HANDSHAKE,))


def is_whole(data: bytes) -> bool:
    """Whether the message has arrived in full.

    Raises:
        Invalid: it is no client hello, or too long.
    """
    return _message(data) is not None


def server_name(data: bytes) -> str | None:
    """Returns the name that the client asks for, or None where it names none.

    Args:
        data: A whole client hello, as it came.

    Raises:
        Invalid: it is not well formed; names are ASCII.
    """
    message = _message(data)
    if message is None:
        raise Invalid("The TLS handshake is cut off.")
    fields = _Fields(message)
    fields.take(2 + 32)
    for size in (1, 2, 1):  # session, cipher suites, compression
        fields.vector(size)
    if not fields.left:
        return None
    found = [body for kind, body in _extensions(_Fields(fields.vector(2))) if kind == SERVER_NAME]
    if len(found) > 1:
        raise Invalid("The TLS handshake names its server twice.")
    return _host_name(_Fields(found[0])) if found else None


class _Fields:
    """Takes fields from the front, never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise Invalid("The TLS handshake is not well formed.")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _message(data: bytes) -> bytes | None:
    """Puts the records together; None while something is missing."""
    if len(data) > MAX_BYTES:
        raise Invalid("The TLS handshake is too long.")
    message, at = b"", 0
    while len(data) - at >= RECORD_BYTES:
        size = int.from_bytes(data[at + 3 : at + RECORD_BYTES])
        if data[at] != HANDSHAKE or data[at + 1] != MAJOR_VERSION or not 0 < size <= LARGEST_RECORD:
            raise Invalid("The connection does not begin with a TLS handshake.")
        message += data[at + RECORD_BYTES : at + RECORD_BYTES + size]
        at += RECORD_BYTES + size
        if message and message[0] != CLIENT_HELLO:
            raise Invalid("The TLS handshake does not begin with a client hello.")
        wanted = 4 + int.from_bytes(message[1:4])
        if wanted > MAX_BYTES:
            raise Invalid("The TLS handshake is too long.")
        if len(message) >= max(4, wanted):
            return message[4:wanted]
    if data and not looks_like_tls(data):
        raise Invalid("The connection does not begin with a TLS handshake.")
    return None


def _extensions(fields: _Fields) -> list[tuple[int, bytes]]:
    found = []
    while fields.left:
        found.append((fields.number(2), fields.vector(2)))
    return found


def _host_name(extension: _Fields) -> str:
    names = _Fields(extension.vector(2))
    kind, name = names.number(1), names.vector(2)
    if kind != HOST_NAME or names.left or extension.left or not name.isascii():
        raise Invalid("The TLS handshake names its server in an unknown way.")
    return name.decode()
