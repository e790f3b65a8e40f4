"""Secrets that a sandbox uses without ever having them. Pure; the egress proxy puts them in.

A program inside knows a placeholder. In a request over TLS to the secret's own domain, and to no other,
the proxy puts the value in its place: in the target, the headers, and what is encoded for basic
authentication.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.egress import WEB_PORTS, EgressPolicy, Rule

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# What a header can carry; anything else could end it.
VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
MOST_SECRETS = 32
BASIC = b"basic "
Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class DomainSecret:
    """A secret that is for one domain alone.

    Attributes:
        domain: Whose requests get it; a wildcard means every name below.
        name: The variable that programs inside find the placeholder in.
        value: The secret; it never enters the sandbox, a record or a log.
        placeholder: What stands for it inside.
    """

    domain: Rule
    name: str
    value: str = field(repr=False)
    placeholder: str

    @classmethod
    def parse(cls, domain: str, name: str, value: str) -> Self:
        """Reads a secret.

        Raises:
            Invalid: the domain, the name or the value cannot be used; the message does not repeat the value.
        """
        rule = Rule.parse(domain)
        if rule.ports != WEB_PORTS or rule.host.address is not None:
            raise Invalid(f"The secret {name!r} needs a domain without a port.", field="secrets.domain")
        if not ENV_NAME.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of a variable.", field="secrets.name")
        if not VALUE.fullmatch(value):
            raise Invalid(
                f"The value of the secret {name!r} needs 1 to 8192 printable ASCII characters, "
                "with no space at its ends.",
                field="secrets.value",
            )
        return cls(rule, name, value, f"secret-{name.lower()}-{secrets.token_hex(12)}")


def check_secrets(chosen: tuple[DomainSecret, ...], policy: EgressPolicy) -> None:
    """Refuses secrets that could never be used.

    Raises:
        Invalid: there are too many, two share a name, or the policy does not allow a domain.
    """
    if len(chosen) > MOST_SECRETS:
        raise Invalid(f"At most {MOST_SECRETS} secrets are taken.", field="secrets")
    if len({secret.name for secret in chosen}) < len(chosen):
        raise Invalid("Two secrets have the same name.", field="secrets.name")
    for secret in chosen:
        reached = secret.domain in policy.rules or policy.decide(secret.domain.host, 443).allowed
        if not reached:
            raise Invalid(
                f"The secret {secret.name!r} is for {secret.domain}, which the sandbox does not reach.",
                field="secrets.domain",
            )


def put_in(text: bytes, chosen: Iterable[DomainSecret]) -> bytes:
    """Puts values in the place of their placeholders."""
    for secret in chosen:
        text = text.replace(secret.placeholder.encode(), secret.value.encode())
    return text


def put_into_headers(headers: Iterable[Header], chosen: tuple[DomainSecret, ...]) -> list[Header]:
    """Puts values into headers."""
    return [(name, _header(name, value, chosen)) for name, value in headers]


def _header(name: bytes, value: bytes, chosen: tuple[DomainSecret, ...]) -> bytes:
    if name.lower() in {b"authorization", b"proxy-authorization"} and value[:6].lower() == BASIC:
        try:
            said = base64.b64decode(value[6:].strip(), validate=True)
        except binascii.Error:
            return value
        return value[:6] + base64.b64encode(put_in(said, chosen))
    return put_in(value, chosen)
