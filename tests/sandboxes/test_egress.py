"""The policy by itself."""

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.addresses import special_kind
from lm_sandbox.sandboxes.egress import EgressMode, EgressPolicy, Rule
from lm_sandbox.sandboxes.hosts import parse_authority, parse_host

ALLOW = [
    "pypi.org",
    "*.example.org",
    "bücher.example",
    "github.com:22",
    "192.0.2.7:5432",
    "[2001:db8::1]:443",
]
POLICY = EgressPolicy.parse(EgressMode.ALLOWLIST, ALLOW)
OPEN = EgressPolicy.parse(EgressMode.OPEN)

LABELS = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12)
ODD = st.text(max_size=40) | st.text(string.printable, max_size=60)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("pypi.org", 443),
        ("PyPI.org", 80),
        ("pypi.org.", 443),
        ("a.example.org", 443),
        ("a.b.example.org", 443),
        ("bücher.example", 443),
        ("xn--bcher-kva.example", 443),
        ("github.com", 22),
        ("192.0.2.7", 5432),
        ("2001:db8::1", 443),
        ("[2001:DB8:0::1]", 443),
    ],
)
def test_what_a_rule_names_is_allowed(host: str, port: int) -> None:
    decision = POLICY.decide(host, port)
    assert decision.allowed
    assert decision.reason.startswith("rule ")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("pypi.org", 22),
        ("github.com", 443),
        ("example.org", 443),
        ("evilexample.org", 443),
        ("pypi.org.evil.com", 443),
        ("evil.com", 443),
        ("192.0.2.7", 443),
        ("192.0.2.8", 5432),
        ("::ffff:192.0.2.7", 5432),
        ("pypi.org", 0),
        ("pypi.org", 65536),
        ("pypi.org", -1),
    ],
)
def test_what_no_rule_names_is_denied(host: str, port: int) -> None:
    assert not POLICY.decide(host, port).allowed


@pytest.mark.parametrize("policy", [POLICY, OPEN, EgressPolicy.parse(EgressMode.OPEN, ["192.0.2.7"])])
@pytest.mark.parametrize(
    "host",
    [
        "", ".", "..", "pypi.org..", ".pypi.org", "pypi.org\0", "pypi.org\0.evil.com", "NUL\0", ";", "pypi.org;evil.com",
        "pypi.org\n", "pypi.org ", " pypi.org", "pypi.org/", "pypi.org#", "pypi.org?", "user@pypi.org", "pypi.org:443",
        "pypi%2eorg", "-pypi.org", "0x7f.0.0.1", "0177.0.0.1", "127.1", "2130706433", "0x7f000001", "1.2.3.4.5", "1.2.3",
        "1.2.3.4.", "a.0x", "fe80::1%eth0", "fe80::1%25eth0", "[::1", "::1]", "[pypi.org]", "[127.0.0.1]", "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1", "*", "*.example.org", "a" * 64 + ".org", "a." * 130 + "org", "pypi.org\\evil", "⑯.com\0",
    ],
)  # fmt: skip
def test_odd_hosts_never_open_anything(policy: EgressPolicy, host: str) -> None:
    decision = policy.decide(host, 443)
    assert not decision.allowed or host == "1.2.3.4.", decision


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1", "203.0.113.1", "::", "::1",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1", "2002:7f00:1::1", "2001:0:4136::1", "2001:db8::1", "3fff::1", "fc00::1", "fd00:ec2::254",
        "fe80::1", "fec0::1", "ff02::1", "4000::1", "2600::5efe:7f00:1", "5f00::1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", [EgressMode.OPEN, EgressMode.ALLOWLIST])
def test_addresses_that_are_not_public_are_denied_unless_named(address: str, mode: EgressMode) -> None:
    one = ipaddress.ip_address(address)
    assert special_kind(one) is not None
    policy = EgressPolicy.parse(mode, ["pypi.org"])
    assert not policy.decide(address, 443).allowed
    assert not policy.decide_address(one, 443, policy.decide("pypi.org", 443)).allowed
    text = f"[{address}]:443" if ":" in address else f"{address}:443"
    named = EgressPolicy.parse(mode, [text])
    assert named.decide(address, 443).allowed
    assert not named.decide(address, 8443).allowed


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_open_reaches_the_public_internet(address: str) -> None:
    assert OPEN.decide(address, 443).allowed
    assert OPEN.decide("example.com", 8443).allowed


@given(host=ODD, port=st.integers(-2, 70000))
def test_an_empty_list_allows_nothing(host: str, port: int) -> None:
    assert not EgressPolicy.parse(EgressMode.ALLOWLIST).decide(host, port).allowed
    assert not EgressPolicy().decide(host, port).allowed


@given(host=ODD)
def test_only_the_named_host_in_some_spelling_is_allowed(host: str) -> None:
    policy = EgressPolicy.parse(EgressMode.ALLOWLIST, ["pypi.org"])
    if policy.decide(host, 443).allowed:
        assert parse_host(host).text == "pypi.org"


@given(labels=st.lists(LABELS, min_size=1, max_size=5))
def test_a_wildcard_takes_only_what_is_below_it(labels: list[str]) -> None:
    policy = EgressPolicy.parse(EgressMode.ALLOWLIST, ["*.example.org"])
    name = ".".join(labels)
    beside = policy.decide(f"{name}example.org", 443)
    assert not beside.allowed or name.endswith(".")
    try:
        parse_host(f"{name}.example.org")
    except Invalid:
        return
    assert policy.decide(f"{name}.example.org", 443).allowed


@given(st.ip_addresses())
def test_a_normal_form_is_read_back_as_itself(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = parse_host(str(address).partition("%")[0])
    assert parse_host(str(host)) == host
    assert parse_authority(f"{host}:443").host == host


@given(st.ip_addresses(v=4))
def test_no_other_spelling_of_an_ipv4_address_is_taken(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for text in (
        str(number),
        hex(number),
        oct(number).replace("o", ""),
        ".".join(hex(part) for part in address.packed),
    ):
        assert not EgressPolicy.parse(EgressMode.OPEN).decide(text, 80).allowed
        with pytest.raises(Invalid):
            parse_host(text)


@pytest.mark.parametrize("rule", ALLOW)
def test_rules_are_written_as_they_are_read(rule: str) -> None:
    assert Rule.parse(str(Rule.parse(rule))) == Rule.parse(rule)


@pytest.mark.parametrize(
    "rule",
    [
        "", "*", "*.", "*.com", "*.*.com", "a.*.com", "https://pypi.org", "pypi.org/", "pypi.org:", "pypi.org:0",
        "pypi.org:65536", "pypi.org:x", "pypi.org:443,", "pypi.org:²", "pypi.org:" + "9" * 5000, "*.10.0.0.1", "10.0.0.0/8",
        "[::1", "127.1", "a b", "pypi.org\n", ":443", "pypi.org:1-9", "user@pypi.org",
    ],
)  # fmt: skip
def test_rules_that_mean_nothing_are_refused(rule: str) -> None:
    with pytest.raises(Invalid) as refusal:
        EgressPolicy.parse(EgressMode.ALLOWLIST, [rule])
    assert refusal.value.field == "egress.allow"


def test_rules_without_a_mode_that_reads_them_are_refused() -> None:
    with pytest.raises(Invalid):
        EgressPolicy.parse(EgressMode.DISABLED, ["pypi.org"])


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (EgressPolicy(), "none"),
        (EgressPolicy(models=True), "models only"),
        (POLICY, "allowlist of 6 by proxy"),
        (EgressPolicy(EgressMode.OPEN, models=True), "public internet by proxy, models"),
    ],
)
def test_a_policy_says_what_it_is(policy: EgressPolicy, told: str) -> None:
    assert str(policy) == told
