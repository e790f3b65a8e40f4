"""The egress policy: what a sandbox may reach. Pure; `egress_proxy` enforces it.

A name is allowed by a rule; each address that it resolves to is then looked at on its own, so that a
name can never lead to the host, its network or a metadata service unless a rule names that address.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.addresses import special_kind
from lm_sandbox.sandboxes.hosts import HIGHEST_PORT, Address, Host, parse_host

WEB_PORTS = frozenset({80, 443})
MOST_RULES = 256
MOST_PORTS = 16
WILDCARD = "*."
PORT = re.compile(r"[0-9]{1,5}")
FIELD = "egress.allow"


class EgressMode(StrEnum):
    """How much of the network a sandbox may reach."""

    DISABLED = "disabled"
    ALLOWLIST = "allowlist"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something may be reached.

    Attributes:
        allowed: Whether it may.
        reason: The rule that allows it, or why it is refused, as part of a sentence.
    """

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allowlist.

    Attributes:
        host: A name, or an address; for a wildcard the part after `*.`.
        ports: The ports it allows.
        wildcard: Whether it means every name below the host, and not the host itself.
    """

    host: Host
    ports: frozenset[int] = WEB_PORTS
    wildcard: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `host`, `*.host` or an address, with ports after a colon: `host:443,8443`.

        Raises:
            Invalid: it is none of these.
        """
        name, ports = _split(text)
        wildcard = name.startswith(WILDCARD)
        host = parse_host(name.removeprefix(WILDCARD))
        if wildcard and (host.address is not None or "." not in host.text):
            raise Invalid(f"The rule {text!r} is too wide: use '*.' and a domain of its own.", field=FIELD)
        return cls(host, _ports(text, ports), wildcard)

    def __str__(self) -> str:
        name = f"{WILDCARD if self.wildcard else ''}{self.host}"
        return name if self.ports == WEB_PORTS else f"{name}:{','.join(map(str, sorted(self.ports)))}"

    def takes(self, host: Host, port: int) -> bool:
        """Whether it allows this."""
        return port in self.ports and self.names(host)

    def names(self, host: Host) -> bool:
        """Whether it is about this host, on whatever port."""
        if self.wildcard:
            return host.address is None and host.text.endswith(f".{self.host.text}")
        return host == self.host


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What a sandbox may reach.

    Attributes:
        mode: How rules are read: not at all, as all there is, or as private addresses that are open too.
        rules: Of an empty list nothing is allowed.
        models: Whether this server's model API is reached, under `lm-sandbox.internal`.
    """

    mode: EgressMode = EgressMode.DISABLED
    rules: tuple[Rule, ...] = ()
    models: bool = False

    @classmethod
    def parse(cls, mode: EgressMode, allow: Iterable[str] = (), *, models: bool = False) -> Self:
        """Reads a policy.

        Raises:
            Invalid: a rule cannot be read, or could have no effect.
        """
        texts = list(allow)
        if texts and mode is EgressMode.DISABLED:
            raise Invalid("With mode 'disabled' no rule has an effect; use 'allowlist'.", field=FIELD)
        if len(texts) > MOST_RULES:
            raise Invalid(f"At most {MOST_RULES} rules are taken.", field=FIELD)
        return cls(mode, tuple(_rule(text) for text in texts), models)

    @property
    def needs_proxy(self) -> bool:
        """Whether anything at all can be reached."""
        return self.models or self.mode is not EgressMode.DISABLED

    def __str__(self) -> str:
        parts = {
            EgressMode.DISABLED: "none",
            EgressMode.ALLOWLIST: f"allowlist of {len(self.rules)} by proxy",
            EgressMode.OPEN: "public internet by proxy",
        }
        if not self.models:
            return parts[self.mode]
        return "models only" if self.mode is EgressMode.DISABLED else f"{parts[self.mode]}, models"

    def decide(self, host: str | Host, port: int) -> Decision:
        """Tells whether a host may be asked for; its addresses are decided on by `decide_address`."""
        try:
            target = parse_host(host) if isinstance(host, str) else host
        except Invalid:
            return Decision(False, "it is neither a host name nor an address")
        if not 0 < port <= HIGHEST_PORT:
            return Decision(False, "the port is out of range")
        if target.address is not None:
            return self.decide_address(target.address, port)
        return self._decide(target, port)

    def decide_address(self, address: Address, port: int, named: Decision | None = None) -> Decision:
        """Tells whether an address may be connected to.

        Args:
            address: The very one.
            port: The port.
            named: The decision about the name that it was resolved from, if it was.
        """
        explicit = self._explicit(Host(str(address), address), port)
        if explicit is not None:
            return explicit
        kind = special_kind(address)
        if kind is not None:
            return Decision(False, f"{address} is {kind} and no rule names it with this port")
        return self._decide(Host(str(address), address), port) if named is None else named

    def names_address(self, address: Address, port: int) -> bool:
        """Whether a rule names this very address with this port."""
        return self._explicit(Host(str(address), address), port) is not None

    def knows(self, host: Host) -> bool:
        """Whether a name may be asked for on any port, so that its look-up is answered."""
        if self.mode is EgressMode.OPEN:
            return True
        return self.mode is EgressMode.ALLOWLIST and any(rule.names(host) for rule in self.rules)

    def _decide(self, host: Host, port: int) -> Decision:
        if self.mode is EgressMode.OPEN:
            return Decision(True, "mode open")
        return self._explicit(host, port) or Decision(False, self._why_not(host, port))

    def _explicit(self, host: Host, port: int) -> Decision | None:
        if self.mode is EgressMode.DISABLED:
            return None
        rule = next((rule for rule in self.rules if rule.takes(host, port)), None)
        return None if rule is None else Decision(True, f"rule {rule}")

    def _why_not(self, host: Host, port: int) -> str:
        if self.mode is EgressMode.DISABLED:
            return "this sandbox has no egress"
        rule = next((rule for rule in self.rules if rule.names(host)), None)
        if rule is not None:
            return f"the rule {rule} does not allow port {port}"
        return f"none of the {len(self.rules)} rules of the allowlist names it"


NOTHING = EgressPolicy()


def _split(text: str) -> tuple[str, str]:
    if text.startswith("[") and "]" in text:
        name, _, rest = text.partition("]")
        return f"{name}]", rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    name, _, ports = text.partition(":")
    return name, ports


def _ports(text: str, ports: str) -> frozenset[int]:
    if not ports and not text.endswith(":"):
        return WEB_PORTS
    words = ports.split(",")
    if not all(PORT.fullmatch(word) and 0 < int(word) <= HIGHEST_PORT for word in words):
        raise Invalid(f"The rule {text!r} has a port that is none.", field=FIELD)
    if len(words) > MOST_PORTS:
        raise Invalid(f"The rule {text!r} has more than {MOST_PORTS} ports.", field=FIELD)
    return frozenset(map(int, words))


def _rule(text: str) -> Rule:
    try:
        return Rule.parse(text)
    except Invalid as error:
        raise Invalid(
            f"{error.message} A rule is a host name, '*.' and a domain, or an address, "
            "with ports after a colon: 'pypi.org', '*.npmjs.org', 'github.com:22,443'.",
            field=FIELD,
        ) from error
