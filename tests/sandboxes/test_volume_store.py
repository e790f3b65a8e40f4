"""The files of volumes: none is lost but the one that was to be."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from lm_sandbox.errors import Conflict, VolumeNotFound
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.volume_store import VolumeStore
from lm_sandbox.storage.database import Database

ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))
SIZE = 16 * MIB

pytestmark = pytest.mark.anyio
Uses = Callable[[str, AsyncConnection], Awaitable[bool]]


async def unused(volume_id: str, connection: AsyncConnection) -> bool:
    del volume_id, connection
    return False


async def used(volume_id: str, connection: AsyncConnection) -> bool:
    del volume_id, connection
    return True


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "volumes"


async def test_a_database_that_knows_of_no_volume_costs_none(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    async with VolumeStore(database, folder) as store:
        made = await store.add("anna", "data", SIZE, {})
    async with Database(tmp_path / "empty.db") as empty, VolumeStore(empty, folder):
        pass
    async with VolumeStore(database, folder) as store:
        assert await store.find(ANNA, "data") == made
        assert store.disk(made.id).stat().st_size == SIZE


async def test_what_a_killed_server_left_half_made_is_removed(database: Database, folder: Path) -> None:
    async with VolumeStore(database, folder) as store:
        made = await store.add("anna", "data", SIZE, {})
    (folder / "vol_half.part").write_bytes(b"half")
    async with VolumeStore(database, folder):
        assert files_in(folder) == [made.id]


async def test_what_another_process_makes_is_left_alone(database: Database, folder: Path) -> None:
    folder.mkdir()
    (folder / "vol_half.part").write_bytes(b"half")
    async with VolumeStore(database, folder, alone=lambda: False):
        assert files_in(folder) == ["vol_half.part"]


async def test_one_that_cannot_be_entered_leaves_nothing(database: Database, folder: Path) -> None:
    async with VolumeStore(database, folder) as store:
        made = await store.add("anna", "data", SIZE, {})
        with pytest.raises(Conflict, match="already"):
            await store.add("anna", "data", SIZE, {})
        assert files_in(folder) == [made.id]


async def test_one_that_is_in_use_keeps_its_file(database: Database, folder: Path) -> None:
    async with VolumeStore(database, folder) as store:
        made = await store.add("anna", "data", SIZE, {})
        with pytest.raises(Conflict, match="mounted"):
            await store.remove(made, used)
        assert files_in(folder) == [made.id]
        assert await store.find(ANNA, "data") == made


async def test_a_server_that_dies_before_a_volume_is_forgotten_has_kept_it(
    database: Database, folder: Path
) -> None:
    async with VolumeStore(database, folder) as store:
        made = await store.add("anna", "data", SIZE, {})
        store.disk(made.id).rename(folder / f"{made.id}.part")
    async with VolumeStore(database, folder) as store:
        assert files_in(folder) == [made.id]
        await store.remove(made, unused)
        assert files_in(folder) == []
        with pytest.raises(VolumeNotFound):
            await store.find(ANNA, "data")
