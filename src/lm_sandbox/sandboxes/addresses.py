"""Which addresses are no part of the public internet, and why."""

import ipaddress

from lm_sandbox.sandboxes.hosts import Address

# The first match is told. Sources: the IANA special-purpose registries, and what clouds document.
SPECIAL = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("169.254.169.254/32", "a metadata address"),
        ("100.100.100.200/32", "a metadata address"),
        ("168.63.129.16/32", "a metadata address"),
        ("192.0.0.192/32", "a metadata address"),
        ("fd00:ec2::/32", "a metadata address"),
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier's private address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 form"),
        ("::/96", "an IPv4 address in IPv6 form"),
        ("64:ff9b::/96", "an IPv4 address in NAT64 form"),
        ("64:ff9b:1::/48", "an IPv4 address in NAT64 form"),
        ("2002::/16", "an IPv4 address in 6to4 form"),
        ("2001::/32", "an IPv4 address in Teredo form"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)
PUBLIC_V6 = ipaddress.ip_network("2000::/3")
ISATAP = (0x00005EFE, 0x02005EFE)


def special_kind(address: Address) -> str | None:
    """Says what an address is that is not a public one; None for a public one."""
    for network, kind in SPECIAL:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address):
        if address not in PUBLIC_V6:
            return "a reserved address"
        if (int(address) >> 32) & 0xFFFFFFFF in ISATAP:
            return "an IPv4 address in ISATAP form"
    return None if address.is_global else "a reserved address"
