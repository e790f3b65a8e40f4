"""A sandbox of each driver, made once a test, for attempts through the file API."""

from collections.abc import AsyncIterator

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.files import SandboxFiles
from tests.conformance.conftest import BOX, DRIVERS, SMALL, Run, runner


@pytest.fixture(params=DRIVERS)
async def started(request: pytest.FixtureRequest) -> AsyncIterator[SandboxDriver]:
    async with DRIVERS[request.param]() as driver:
        await driver.create(BOX, SMALL)
        yield driver


@pytest.fixture
def run_inside(started: SandboxDriver) -> Run:
    return runner(started, BOX)


@pytest.fixture
def files(started: SandboxDriver) -> SandboxFiles:
    return started.files(BOX)
