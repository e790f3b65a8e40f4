"""Secrets that a sandbox uses without having them: real TLS, real programs inside."""

import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.egress import EgressMode, EgressPolicy
from lm_sandbox.sandboxes.secrets import DomainSecret, check_secrets, put_in, put_into_headers
from tests.sandboxes.networked import Box, box, low_ports
from tests.sandboxes.upstream import Upstream, certificate, loopback, upstream

VALUE = "sk-the-real-thing-0123456789"
PLAIN = "http://127.0.0.1:3128"


@dataclass
class Place:
    """A sandbox with a secret for `up.test`, the server of that name, and one that must not get it."""

    box: Box
    up: Upstream
    other: Upstream

    async def asked(self, command: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.box.out(command))
        return told

    def seen(self) -> str:
        """All that came to either server."""
        return repr([*self.up.asked, *self.up.bodies, *self.other.asked, *self.other.bodies])


@asynccontextmanager
async def place(tmp_path: Path, *, believed: bool = True) -> AsyncIterator[Place]:
    pem, context = certificate(tmp_path, "up.test", "other.test")
    trust = ssl.create_default_context(cafile=str(pem) if believed else None)
    secret = DomainSecret.parse("up.test", "API_KEY", VALUE)
    here, there = loopback(), loopback()
    rules = ("up.test", "other.test", f"{here}:80,443", f"{there}:80,443")
    async with (
        upstream(here, 443, context) as up,
        upstream(there, 443, context) as other,
        box(*rules, secrets=(secret,), trust=trust) as made,
    ):
        made.table.names = {"up.test": [here], "other.test": [there]}
        yield Place(made, up, other)


@pytest.mark.anyio
@low_ports
@pytest.mark.parametrize("way", ["", "-x ''"], ids=["by the proxy", "as if there were none"])
async def test_a_server_gets_the_value_and_the_sandbox_only_what_stands_for_it(
    way: str, tmp_path: Path
) -> None:
    async with place(tmp_path) as at:
        told = await at.asked(
            f'curl -sS {way} -H "Authorization: Bearer $API_KEY" "https://up.test/a?k=$API_KEY"'
        )
        assert told["headers"]["authorization"] == f"Bearer {VALUE}"
        assert told["target"] == f"/a?k={VALUE}"
        inside = await at.box.out("env; cat /proc/self/environ /home/sandbox/.lm-sandbox/* | tr '\\0' '\\n'")
        assert VALUE not in inside
        assert re.search(r"^API_KEY=secret-api_key-[0-9a-f]{24}$", inside, re.MULTILINE)


@pytest.mark.anyio
@low_ports
async def test_basic_authentication_gets_the_value_too(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        told = await at.asked('curl -sS -u "me:$API_KEY" https://up.test/')
        assert base64.b64decode(told["headers"]["authorization"].partition(" ")[2]) == f"me:{VALUE}".encode()


@pytest.mark.anyio
@low_ports
async def test_programs_of_several_kinds_trust_the_way(tmp_path: Path) -> None:
    python = (
        "import os, urllib.request as u; "
        "q = u.Request('https://up.test/', headers={'X-Key': os.environ['API_KEY']}); "
        "print(u.urlopen(q).read().decode())"
    )
    async with place(tmp_path) as at:
        assert (await at.asked(f'python3 -c "{python}"'))["headers"]["x-key"] == VALUE
        told = await at.asked(
            "wget -qO- --ca-certificate=$SSL_CERT_FILE --header X-Key:$API_KEY https://up.test/"
        )
        assert told["headers"]["x-key"] == VALUE


@pytest.mark.anyio
@low_ports
async def test_many_requests_of_one_connection_and_large_bodies_pass(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        script = (
            "head -c 3000000 /dev/zero > big; "
            'curl -sS -H "X-Key: $API_KEY" --data-binary @big https://up.test/1 '
            '-H "X-Key: $API_KEY" https://up.test/2'
        )
        first, second = (json.loads(line) for line in (await at.box.out(script)).splitlines())
        assert (first["body"], first["target"], second["target"]) == (3_000_000, "/1", "/2")
        assert (await at.box.out("curl -sS 'https://up.test/big?160' | wc -c")).strip() == str(160 * 65536)


@pytest.mark.anyio
@low_ports
@pytest.mark.parametrize(
    "attempt",
    [
        'curl -sS -k -H "X: $API_KEY" https://other.test/',
        'curl -sS -k -H "X: $API_KEY" -H "Host: up.test" https://other.test/',
        'curl -sS -k -H "X: $API_KEY" --connect-to up.test:443:other.test:443 https://up.test/',
        'curl -sS -k -H "X: $API_KEY" --resolve up.test:443:127.0.0.1 https://other.test/',
        'curl -sS -H "X: $API_KEY" -H "Host: other.test" https://up.test/',
        'curl -sS -H "X: $API_KEY" http://up.test/',
        f'curl -sS -p -x {PLAIN} -H "X: $API_KEY" http://up.test:443/',
        'curl -sS -d "$API_KEY" https://up.test/',
    ],
)
async def test_nobody_else_gets_the_value_nor_anyone_in_the_clear(attempt: str, tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.box.table.names["up.test"] *= 3
        await at.box.out(attempt)
        assert VALUE not in at.seen()


@pytest.mark.anyio
@low_ports
async def test_a_redirect_takes_only_the_placeholder_along(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.box.out(
            'curl -sSkL --location-trusted -H "X: $API_KEY" "https://up.test/redirect?https://other.test/"'
        )
        assert VALUE in repr(at.up.asked)
        assert "secret-api_key-" in repr(at.other.asked)
        assert VALUE not in repr(at.other.asked)


@pytest.mark.anyio
@low_ports
async def test_a_server_that_does_not_prove_who_it_is_gets_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, believed=False) as at:
        told = await at.box.out('curl -sS -H "X: $API_KEY" https://up.test/')
        assert "does not prove by TLS who it is" in told
        assert VALUE not in at.seen()


@pytest.mark.anyio
@low_ports
async def test_a_policy_that_closes_the_domain_ends_the_use_of_its_secret(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.box.allow("other.test")
        await at.box.out('curl -sSk -H "X: $API_KEY" https://up.test/')
        assert VALUE not in at.seen()
        assert any("up.test" in event.detail for event in at.box.refusals())


@pytest.mark.parametrize(
    ("domain", "name", "value"),
    [
        ("up.test", "A", "x\r\nHost: evil"),
        ("up.test", "A", ""),
        ("up.test", "A", " x"),
        ("up.test", "A", "ä"),
        ("up.test", "A", "x" * 9000),
        ("up.test", "A=B", "x"),
        ("up.test:8443", "A", "x"),
        ("10.0.0.1", "A", "x"),
        ("*.test", "A", "x"),
        ("", "A", "x"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_without_repeating_it(domain: str, name: str, value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        DomainSecret.parse(domain, name, value)
    assert len(value) < 3 or value not in refusal.value.message


def test_a_secret_is_for_a_domain_that_is_reached_and_has_a_name_of_its_own() -> None:
    secret = DomainSecret.parse("up.test", "A", "x")
    with pytest.raises(Invalid, match="does not reach"):
        check_secrets((secret,), EgressPolicy.parse(EgressMode.ALLOWLIST, ["other.test"]))
    policy = EgressPolicy.parse(EgressMode.ALLOWLIST, ["*.up.test", "up.test"])
    check_secrets((secret, DomainSecret.parse("*.up.test", "B", "x")), policy)
    with pytest.raises(Invalid, match="same name"):
        check_secrets((secret, secret), policy)


def test_a_secret_does_not_show_its_value() -> None:
    assert VALUE not in repr(DomainSecret.parse("up.test", "A", VALUE))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_only_placeholders_are_touched(before: bytes, after: bytes) -> None:
    secret = DomainSecret.parse("up.test", "A", VALUE)
    text = before + secret.placeholder.encode() + after
    assert put_in(text, (secret,)) == before + VALUE.encode() + after
    assert put_in(before, (secret,)) == before
    assert put_into_headers([(b"x", before)], (secret,)) == [(b"x", before)]
    kept = [(b"authorization", b"Basic " + before)]
    [(_, value)] = put_into_headers(kept, (secret,))
    assert value == kept[0][1] or base64.b64decode(value[6:]) == base64.b64decode(before.strip())
