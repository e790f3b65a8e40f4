"""Processes over one data directory find each other, and know who has died."""

import socket
from pathlib import Path

import anyio
import pytest

from lm_sandbox.storage.servers import Servers, serving_urls

pytestmark = pytest.mark.anyio


async def test_a_process_is_found_while_it_serves_and_no_longer(tmp_path: Path) -> None:
    looking = Servers(tmp_path / "servers")
    looking.name = "0-0"
    async with looking:
        assert looking.others() == ()
        async with Servers(tmp_path / "servers", joins=True) as serving:
            assert (looking.others(), looking.dead(), looking.is_alone()) == ((serving.name,), (), False)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(looking.address(serving.name))
            serving.announce("http://127.0.0.1:1")
            assert [url for url, _ in serving_urls(tmp_path / "servers")] == ["http://127.0.0.1:1"]
            serving.withdraw()
            assert serving_urls(tmp_path / "servers") == []
            assert looking.others() == (serving.name,), "what it has is still asked for"
        assert (looking.others(), looking.is_alone()) == ((), True)


async def test_a_process_that_has_died_is_known_until_somebody_has_taken_over(tmp_path: Path) -> None:
    async with Servers(tmp_path / "servers", joins=True) as servers:
        (tmp_path / "servers/999999999-1.socket").touch()
        assert (servers.others(), servers.dead()) == (("999999999-1",), ("999999999-1",))
        assert servers.is_alone()
        servers.remove("999999999-1")
        assert servers.others() == ()


async def test_only_one_takes_over_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    async def take_over(name: str) -> None:
        async with Servers(tmp_path / "servers") as servers, servers.taking_over():
            order.append(f"{name} begins")
            await anyio.sleep(0.05)
            order.append(f"{name} ends")

    async with anyio.create_task_group() as tasks:
        for name in ("one", "other"):
            tasks.start_soon(take_over, name)
    assert [line.split()[1] for line in order] == ["begins", "ends", "begins", "ends"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "servers",)} == {0o700}
