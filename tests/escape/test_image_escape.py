"""What an image can be made of to get at the host through those who look into a sandbox from outside."""

import io
import re
import tarfile
from pathlib import Path

import pytest

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import DriverUnavailable, Invalid, Unsupported
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.docker.driver import DockerDriver
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.verification.verify import verification
from lm_sandbox.sandboxes.volume_store import make_disk
from tests.conformance.conftest import BOX, SMALL, devices_of, runner
from tests.conftest import eventually
from tests.docker_engine import IMAGE, client

pytestmark = pytest.mark.anyio
SECRET = "a secret of the host"


def built(engine: Path, name: str, *steps: str) -> str:
    """Builds an image on the engine and returns its name."""
    dockerfile = "\n".join((f"FROM {IMAGE}", *steps)).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    with client(engine) as http:
        query = {"t": name, "networkmode": "none", "forcerm": "true"}
        answer = http.post("/build", params=query, content=context.getvalue())
    assert answer.is_success, answer.text
    assert "errorDetail" not in answer.text, answer.text
    return name


async def test_a_link_of_an_image_above_a_writable_place_does_not_lead_to_the_host(
    docker_engine: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    secret = outside / "sandbox" / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text(SECRET)
    image = built(docker_engine, "linked-home", f"RUN rm -rf /home && ln -s {outside} /home")
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path / "docker") as driver:
        await driver.create(BOX, SandboxSpec(limits=SMALL.limits, image=image))
        run = runner(driver, BOX)
        assert (await run("echo own > /home/sandbox/own && ls /home/sandbox")).stdout == b"own\n"
        await driver.save(BOX, tmp_path / "saved")
        assert [path.name for path in (tmp_path / "saved" / "home").iterdir()] == ["own"]
        await run("rm /home/sandbox/own")
        await driver.load(BOX, tmp_path / "saved")
        assert (await run("cat /home/sandbox/own")).stdout == b"own\n"
    assert secret.read_text() == SECRET


async def test_what_an_image_declares_as_a_volume_meets_the_disk_limit(
    docker_engine: Path, tmp_path: Path
) -> None:
    steps = ("RUN mkdir -m 1777 /data /srv/more", 'VOLUME ["/data", "/srv/more", "/workspace"]')
    image = built(docker_engine, "with-volumes", *steps)
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path) as driver:
        await driver.create(BOX, SandboxSpec(limits=SMALL.limits, image=image))
        run = runner(driver, BOX)
        for place in ("/data", "/srv/more"):
            filled = await run(f"head -c 64M /dev/zero > {place}/f; stat -c %s {place}/f; rm {place}/f")
            assert int(filled.stdout or b"0") <= SMALL.limits.disk_bytes
        assert (await run("echo own > /workspace/own && cat /workspace/own")).stdout == b"own\n"
    with client(docker_engine) as http:
        volumes = [volume["Name"] for volume in http.get("/volumes").json()["Volumes"]]
        # Those that somebody made on purpose have names of words.
        assert not [name for name in volumes if re.fullmatch("[0-9a-f]{64}", name)]


async def test_an_image_cannot_have_the_engine_start_programs_of_its_own(
    docker_engine: Path, tmp_path: Path
) -> None:
    image = built(docker_engine, "with-a-check", "HEALTHCHECK --interval=100ms CMD touch /tmp/checked")
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path) as driver:
        await driver.create(BOX, SandboxSpec(limits=SMALL.limits, image=image))
        result = await runner(driver, BOX)("sleep 0.5; ls /tmp")
        assert result.stdout == b""


async def test_an_image_in_which_nothing_could_be_tried_is_told(docker_engine: Path, tmp_path: Path) -> None:
    image = built(docker_engine, "without-python", "RUN rm /usr/bin/python3")
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path, image) as driver:
        async with verification(driver) as (sandbox, _):
            with pytest.raises(Unsupported, match="python3, which the image lacks"):
                await sandbox.require_language()


@pytest.mark.parametrize("target", ["/workspace", "/etc", "/proc/1/root", "/nowhere"])
async def test_a_link_of_an_image_where_a_volume_is_to_be_gets_nobody_anything(
    docker_engine: Path, tmp_path: Path, target: str
) -> None:
    make_disk(disk := tmp_path / "vol_linked", 16 * MIB)
    image = built(docker_engine, "linked-data", f"RUN ln -s {target} /data")
    mounts = (DiskMount(disk, "/data", read_only=False),)
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path / "docker") as driver:
        with pytest.raises((Unsupported, DriverUnavailable)):
            await driver.create(BOX, SandboxSpec(limits=SMALL.limits, image=image, mounts=mounts))
    await eventually(lambda: devices_of(disk) == [])
    assert str(disk) not in Path("/proc/self/mountinfo").read_text()


async def test_a_volume_takes_the_place_of_one_that_the_image_declares(
    docker_engine: Path, tmp_path: Path
) -> None:
    make_disk(disk := tmp_path / "vol_declared", 16 * MIB)
    image = built(docker_engine, "declares-data", "RUN mkdir -p /data/in", 'VOLUME ["/data", "/srv/a/b"]')
    async with DockerDriver(DockerSettings(socket=docker_engine), tmp_path / "docker") as driver:
        mounts = (DiskMount(disk, "/data", read_only=False),)
        await driver.create(BOX, SandboxSpec(limits=SMALL.limits, image=image, mounts=mounts))
        told = await runner(driver, BOX)("echo kept > /data/a; ls /data; df --output=fstype /data | tail -1")
        assert told.stdout.split() == [b"a", b"lost+found", b"ext4"]
        within = (DiskMount(disk, "/srv/a", read_only=False),)
        with pytest.raises(Invalid, match="/srv/a/b"):
            await driver.create(
                SandboxId("sb_other"), SandboxSpec(limits=SMALL.limits, image=image, mounts=within)
            )
