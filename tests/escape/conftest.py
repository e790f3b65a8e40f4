"""A sandbox of each driver, made once a test, for attempts through the file API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.files import SandboxFiles
from tests.conformance.conftest import BOX, ENTERED, SMALL, Run, runner
from tests.drivers import build


@pytest.fixture
def new_driver(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxDriver:
    return build(request.param, request, tmp_path)


@pytest.fixture(params=ENTERED)
async def started(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SandboxDriver]:
    async with build(request.param, request, tmp_path) as driver:
        await driver.create(BOX, SMALL)
        yield driver


@pytest.fixture
def run_inside(started: SandboxDriver) -> Run:
    return runner(started, BOX)


@pytest.fixture
def files(started: SandboxDriver) -> SandboxFiles:
    return started.files(BOX)
