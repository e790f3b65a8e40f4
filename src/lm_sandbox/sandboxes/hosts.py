"""Names and addresses of hosts: one normal form for each, and nothing that can be read in two ways."""

import ipaddress
import re
from dataclasses import dataclass

import idna

from lm_sandbox.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST_NAME = 253
HIGHEST_PORT = 65535
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Resolvers read a last label like this as a number, and with it the whole name as an address.
NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\\s]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Host:
    """A host in its normal form.

    Attributes:
        text: A lower-case name in A-labels without a final dot, or an address in its shortest form.
        address: Set where it is an address.
    """

    text: str
    address: Address | None = None

    def __str__(self) -> str:
        return f"[{self.text}]" if ":" in self.text else self.text


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a request goes."""

    host: Host
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_host(text: str) -> Host:
    """Reads a name or an address, with or without brackets.

    Raises:
        Invalid: it is neither, or could be read as more than one: octal, hexadecimal and shortened
            IPv4, zones, escapes, control characters.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        return _address_v6(bare, text)
    if bare != text:
        raise _refusal(text)
    name = _ascii(text).lower().removesuffix(".")
    labels = name.split(".")
    if NUMBER.fullmatch(labels[-1]):
        return _address_v4(name, text)
    if len(name) > LONGEST_NAME or not all(map(LABEL.fullmatch, labels)):
        raise _refusal(text)
    return Host(name)


def parse_authority(text: str, default_port: int | None = None) -> Authority:
    """Reads `host:port`; the port may be missing where there is a default.

    Raises:
        Invalid: it is none; user names and passwords are not taken.
    """
    match = AUTHORITY.fullmatch(text)
    port = default_port if match is None or match[2] is None else int(match[2])
    if match is None or port is None or not 0 < port <= HIGHEST_PORT:
        raise Invalid(f"{text[:LONGEST_NAME]!r} is not a host and a port.")
    return Authority(parse_host(match[1]), port)


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise _refusal(text) from error


def _address_v4(name: str, text: str) -> Host:
    try:
        address = ipaddress.IPv4Address(name)
    except ValueError as error:
        raise _refusal(text) from error
    if not text.isascii():
        raise _refusal(text)
    return Host(str(address), address)


def _address_v6(bare: str, text: str) -> Host:
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError as error:
        raise _refusal(text) from error
    if address.scope_id is not None:
        raise _refusal(text)
    return Host(address.compressed, address)


def _refusal(text: str) -> Invalid:
    return Invalid(f"{text[:LONGEST_NAME]!r} is neither a host name nor an address.")
