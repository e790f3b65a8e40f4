"""Volumes in containers: what the engine is asked for, and what is not believed of it."""

from pathlib import Path

import pytest

from lm_sandbox.errors import Invalid, Unsupported
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo
from lm_sandbox.sandboxes.drivers.docker.attachments import (
    Attached,
    are_mounted,
    obstacle_to_volumes,
    read_only_paths,
    with_volumes,
)
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import SMALL
from tests.drivers import build

ONE = SandboxId("sb_one")
CONFIG = {
    "Image": "i",
    "HostConfig": {"ReadonlyRootfs": True, "Tmpfs": {"/b": "x", "/srv": "x", "/c/d": "x"}},
}
LINE = "168 151 7:3 / /da\\040ta rw,nosuid,nodev,noatime master:4 - ext4 /dev/loop3 rw,discard"


def volume(path: str = "/da ta", *, read_only: bool = False) -> Attached:
    return Attached(DiskMount(Path("/v/vol_1"), path, read_only), "/dev/loop3", "7:3")


def test_the_engine_mounts_the_device_without_any_right_and_only_there() -> None:
    made = with_volumes(CONFIG, [volume(), volume("/b", read_only=True)])
    assert made["HostConfig"]["ReadonlyRootfs"] is True
    first, second = made["HostConfig"]["Mounts"]
    assert (first["Type"], first["Target"], second["Target"]) == ("volume", "/da ta", "/b")
    assert first["VolumeOptions"]["NoCopy"] is True
    options = first["VolumeOptions"]["DriverConfig"]["Options"]
    assert (options["type"], options["device"]) == ("ext4", "/dev/loop3")
    assert {"nosuid", "nodev"} <= set(options["o"].split(","))
    assert "Source" not in first, "one with a name would stay when its container is removed"
    assert read_only_paths([volume(), volume("/b", read_only=True)]) == ["/b"]
    assert set(made["HostConfig"]["Tmpfs"]) == {"/srv", "/c/d"}
    assert with_volumes(CONFIG, []) is CONFIG


def test_nothing_is_mounted_in_what_another_sandbox_may_change_meanwhile() -> None:
    with pytest.raises(Invalid, match="/c/d") as refused:
        with_volumes(CONFIG, [volume("/c")])
    assert refused.value.field == "mounts"
    with_volumes(CONFIG, [volume("/srv/below"), volume("/c/d/e"), volume("/c/dd")])


@pytest.mark.parametrize(
    ("line", "read_only", "right"),
    [
        (LINE, False, True),
        (LINE, True, False),
        (LINE.replace(" rw,nosuid", " ro,nosuid"), True, True),
        (LINE.replace(" rw,nosuid", " ro,nosuid"), False, False),
        (LINE.replace("7:3", "7:4"), False, False),
        (LINE.replace("7:3 /", "7:3 /sub"), False, False),
        (LINE.replace("nodev,", ""), False, False),
        (LINE.replace("nosuid,", ""), False, False),
        (LINE.replace("/da\\040ta", "/etc"), False, False),
        (f"{LINE}\n{LINE.replace('7:3', '8:1')}", False, False),
        ("", False, False),
        ("odd line", False, False),
    ],
)
def test_what_is_mounted_is_read_from_the_kernel(line: str, read_only: bool, right: bool) -> None:
    assert are_mounted([volume(read_only=read_only)], line) is right


def test_nothing_asked_for_is_always_there() -> None:
    assert are_mounted([], "")


def test_an_engine_whose_containers_cannot_be_looked_at_gets_no_volume() -> None:
    users = EngineInfo.model_validate({"SecurityOptions": ["name=userns"]})
    assert obstacle_to_volumes(EngineInfo(), None) is None
    assert obstacle_to_volumes(EngineInfo(), "the engine is rootless") == "the engine is rootless"
    assert obstacle_to_volumes(EngineInfo(podman=True), None) == "the engine is Podman"
    assert obstacle_to_volumes(users, None) == "the engine maps users"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["docker exec", "podman"])
async def test_volumes_are_refused_where_they_would_not_be_held(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    make_disk(disk := tmp_path / "vol_refused", 16 * MIB)
    async with build(name, request, tmp_path) as driver:
        spec = SandboxSpec(limits=SMALL.limits, mounts=(DiskMount(disk, "/data", read_only=False),))
        with pytest.raises(Unsupported, match="get no volumes"):
            await driver.create(ONE, spec)
