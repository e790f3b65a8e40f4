"""Counting, in memory and in a real Redis."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from lm_sandbox.errors import Invalid, RateLimited
from lm_sandbox.identity.counters import MOST_COUNTS, Counters, MemoryCounters, shared_counters
from lm_sandbox.identity.rates import Rate, Rates

pytestmark = pytest.mark.anyio

THREE = Rate("requests", 3, 60, "This address")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is missing: run scripts/system-packages test")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


async def answering(counters: Counters) -> None:
    """Waits until they answer."""
    with anyio.fail_after(20):
        while True:
            with suppress(Exception):
                await counters.get("x")
                return
            await anyio.sleep(0.02)


async def test_what_is_left_goes_down_until_there_is_nothing_and_comes_back() -> None:
    clock = Clock()
    rates = Rates(now=clock)
    for left in (2, 1, 0):
        allowance = await rates.take(THREE, "a")
        allowance.require()
        assert (allowance.left, allowance.reset_s) == (left, 60)
    clock.seconds += 45
    with pytest.raises(RateLimited) as caught:
        (await rates.take(THREE, "a")).require()
    assert caught.value.retry_after_s == 15
    (await rates.take(THREE, "b")).require()
    clock.seconds += 15
    assert (await rates.take(THREE, "a")).left == 2


async def test_looking_takes_nothing() -> None:
    rates = Rates(now=Clock())
    for _ in range(9):
        (await rates.look(THREE, "a")).require()
    await rates.take(THREE, "a", 3)
    with pytest.raises(RateLimited):
        (await rates.look(THREE, "a")).require()


async def test_counts_of_very_many_addresses_do_not_fill_the_memory() -> None:
    counters = MemoryCounters(Clock())
    for number in range(MOST_COUNTS + 10):
        await counters.incr(f"address {number}", 60)
    assert len(counters._counts) <= MOST_COUNTS
    assert await counters.get(f"address {MOST_COUNTS + 9}") == 1


async def test_counts_that_have_ended_make_room_first() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    await counters.incr("long", 3600)
    for number in range(MOST_COUNTS - 1):
        await counters.incr(f"address {number}", 60)
    clock.seconds += 61
    await counters.incr("new", 60)
    assert len(counters._counts) == 2
    assert await counters.get("long") == 1


async def test_servers_that_share_a_redis_count_together(redis: str) -> None:
    async with shared_counters(redis) as counters, shared_counters(redis) as others:
        await answering(counters)
        one, other = Rates(counters), Rates(others)
        assert (await one.take(THREE, "a")).left == 2
        assert (await other.take(THREE, "a")).left == 1
        last = await one.take(THREE, "a")
        assert (last.left, 58 <= last.reset_s <= 60) == (0, True)
        with pytest.raises(RateLimited):
            (await other.look(THREE, "a")).require()


async def test_without_its_redis_a_server_counts_for_itself() -> None:
    async with shared_counters("redis://127.0.0.1:9/0") as counters:
        rates = Rates(counters)
        for left in (2, 1, 0, -1):
            assert (await rates.take(THREE, "a")).left == left


async def test_what_is_no_address_of_a_redis_is_refused_by_the_name_of_the_setting() -> None:
    with pytest.raises(Invalid) as caught:
        async with shared_counters("ftp://nowhere"):
            raise AssertionError
    assert caught.value.field == "limits.store"
