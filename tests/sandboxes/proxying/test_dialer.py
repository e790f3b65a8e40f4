import ipaddress
import socket

import pytest

from lm_sandbox.errors import EgressDenied, Unreachable
from lm_sandbox.sandboxes.egress import EgressMode, EgressPolicy
from lm_sandbox.sandboxes.hosts import Address, parse_authority
from lm_sandbox.sandboxes.proxying.budget import Budget
from lm_sandbox.sandboxes.proxying.dialer import Dialer, SystemResolver, is_own

pytestmark = pytest.mark.anyio


async def nowhere(name: str) -> list[Address]:
    del name
    return []


def test_an_address_of_this_machine_is_known_as_such() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("192.0.2.1"))


async def test_a_name_without_addresses_does_not_exist() -> None:
    policy = EgressPolicy.parse(EgressMode.OPEN)
    with pytest.raises(Unreachable, match="does not exist"):
        await Dialer(nowhere).dial(policy, parse_authority("gone.example:443"))


async def test_every_address_of_a_name_is_looked_at_and_only_an_allowed_one_dialled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def resolve(name: str) -> list[Address]:
            del name
            return [ipaddress.ip_address(one) for one in ("10.0.0.1", "169.254.169.254", "127.0.0.1")]

        target = parse_authority(f"some.example:{port}")
        for mode in (EgressMode.OPEN, EgressMode.ALLOWLIST):
            with pytest.raises(EgressDenied, match="private address"):
                await Dialer(resolve).dial(EgressPolicy.parse(mode, [f"some.example:{port}"]), target)
            named = EgressPolicy.parse(mode, [f"some.example:{port}", f"127.0.0.1:{port}"])
            async with await Dialer(resolve).dial(named, target) as stream:
                await stream.send(b"x")


async def test_the_hosts_own_resolver_is_asked() -> None:
    assert ipaddress.ip_address("127.0.0.1") in await SystemResolver()("localhost")
    assert await SystemResolver()("no-such-name.invalid") == []


def test_a_budget_gives_no_more_than_it_has() -> None:
    budget = Budget(2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.give()
    assert budget.take()
    assert Budget.of_this_process().take()
