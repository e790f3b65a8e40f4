"""Runs every attempt against the egress policy, and finds that nothing outside of it was reached."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.verification.attempts import THROUGH, Attempt
from lm_sandbox.sandboxes.verification.egress_attempts import AROUND, ATTEMPTS, DIRECT
from tests.conformance.conftest import ENTERED
from tests.sandboxes.networked import Box, box
from tests.sandboxes.upstream import Upstream, certificate, loopback, upstream

pytestmark = pytest.mark.anyio
ROOT = os.geteuid() == 0
MADE = [
    pytest.param(driver, attempt, id=f"{driver}: {attempt.name}")
    for driver in ENTERED
    for attempt in (ATTEMPTS if driver == "bubblewrap" else AROUND)
]


@dataclass
class Scene:
    """A sandbox, what it may reach, and what it may not."""

    box: Box
    up: Upstream
    evil: list[Upstream]
    env: dict[str, str]


@pytest.fixture
async def scene(new_driver: SandboxDriver, tmp_path: Path) -> AsyncIterator[Scene]:
    _, context = certificate(tmp_path, "evil.test", "up.test")
    good, bad = loopback(), loopback()
    abstract = f"lm-sandbox-test-{os.getpid()}-{bad}"
    async with AsyncExitStack() as exits:
        up = await exits.enter_async_context(upstream(good))
        if ROOT:
            await exits.enter_async_context(upstream(good, 443, context))
        evil = [await exits.enter_async_context(upstream(bad))]
        evil.append(await exits.enter_async_context(upstream("127.0.0.1")))
        if ROOT:
            evil.append(await exits.enter_async_context(upstream(bad, 80)))
            evil.append(await exits.enter_async_context(upstream(bad, 443, context)))
        local = exits.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(f"\0{abstract}")
        local.listen()
        rules = [f"up.test:{up.port},443", f"rebind.test:{evil[0].port}", f"inside.test:{evil[0].port}"]
        made = await exits.enter_async_context(box(*rules, f"{good}:{up.port},443", driver=new_driver))
        made.table.names = {
            "up.test": [good], "evil.test": [bad], "rebind.test": [f"203.0.113.1,{bad}", bad], "inside.test": [bad],
            "localhost": ["127.0.0.1"], "metadata.google.internal": ["169.254.169.254"],
        }  # fmt: skip
        env = {
            "EVIL_IP": bad, "EVIL_PORT": str(evil[0].port), "UP_PORT": str(up.port), "ABSTRACT": abstract,
            "SERVER_PORT": str(evil[1].port),
        }  # fmt: skip
        yield Scene(made, up, evil, env)


@pytest.mark.parametrize(("new_driver", "attempt"), MADE, indirect=["new_driver"])
async def test_nothing_outside_the_policy_is_reached(attempt: Attempt, scene: Scene) -> None:
    output = await scene.box.out(attempt.script, **scene.env)
    assert [server.connections for server in scene.evil] == [0] * len(scene.evil), output
    assert THROUGH not in output
    assert '"host": "evil' not in output
    assert set(scene.box.table.asked) <= {"up.test", "rebind.test", "inside.test"}
    assert "reached" in await scene.box.out(f"curl -sS http://up.test:{scene.up.port}/")


@pytest.mark.parametrize("new_driver", ENTERED, indirect=True)
async def test_the_attempts_can_succeed_where_the_policy_allows(scene: Scene) -> None:
    if ROOT:
        assert "reached" in await scene.box.out(f"{DIRECT} https://up.test/")
    await scene.box.allow(f"evil.test:{scene.evil[0].port}", f"{scene.env['EVIL_IP']}:{scene.evil[0].port}")
    for name in ("the name by the proxy", "the name by a tunnel", "say a second request"):
        attempt = next(one for one in ATTEMPTS if one.name == name)
        before = scene.evil[0].connections
        await scene.box.out(attempt.script, **scene.env)
        assert scene.evil[0].connections == before + (name != "say a second request")


def test_no_attempt_is_there_twice() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 100
