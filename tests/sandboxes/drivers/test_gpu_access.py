"""What a sandbox of the embedded driver gets of GPUs: with device nodes that stand for theirs."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.driver import SandboxId, SandboxSpec
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.gpu_access import device_arguments, driver_arguments, driver_env
from lm_sandbox.sandboxes.drivers.bubblewrap.systems import ImagePlaces
from lm_sandbox.sandboxes.image_store import ImageStore
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.nvidia import DriverFiles, GpuDevice, find_driver_files
from tests.conformance.conftest import runner
from tests.sandboxes.imaged import needs_images

ONE, TWO = GpuDevice("GPU-1", 1, "RTX"), GpuDevice("GPU-2", 2, "GTX")
BOX = SandboxId("sb_gpu")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")


def test_exactly_the_nodes_of_its_gpus_are_bound() -> None:
    arguments = device_arguments([ONE], DriverFiles())
    assert arguments == [
        *("--dev-bind", "/dev/nvidiactl", "/dev/nvidiactl"),
        *("--dev-bind", "/dev/nvidia-uvm", "/dev/nvidia-uvm"),
        *("--dev-bind", "/dev/nvidia1", "/dev/nvidia1"),
    ]
    assert device_arguments([], DriverFiles()) == []


def test_an_image_gets_the_drivers_libraries_by_their_names_and_the_way_to_them(tmp_path: Path) -> None:
    for name in (
        "libcuda.so.1",
        "libnvidia-ml.so.550.54",
        "libc.so.6",
        "libnvidia-glcore.so.550.54",
        "libcuda.so",
    ):
        (tmp_path / name).touch()
    files = find_driver_files([tmp_path / "nowhere", tmp_path])
    arguments = driver_arguments([ONE], DriverFiles(libraries=files.libraries))
    assert arguments == [
        *("--ro-bind", f"{tmp_path}/libcuda.so.1", "/dev/nvidia-driver/lib/libcuda.so.1"),
        *("--ro-bind", f"{tmp_path}/libnvidia-ml.so.550.54", "/dev/nvidia-driver/lib/libnvidia-ml.so.550.54"),
    ]
    assert driver_arguments([], files) == []
    env = driver_env([ONE], {"LD_LIBRARY_PATH": "/opt/lib"}, "/bin")
    assert env == {
        "LD_LIBRARY_PATH": "/opt/lib:/dev/nvidia-driver/lib",
        "PATH": "/bin:/dev/nvidia-driver/bin",
    }
    assert driver_env([], {}, "/bin") == {}


@pytest.fixture
def files() -> Iterator[DriverFiles]:
    """Nodes that give zeroes, where the driver's would be, in a folder that is open to everybody as /dev is."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield _files_in(Path(place))


def _files_in(place: Path) -> DriverFiles:
    folder = place / "dev"
    folder.mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia1"):
        os.mknod(folder / name, 0o020666, os.makedev(1, 5))
        (folder / name).chmod(0o666)
    (place / "libcuda.so.550").write_text("a library")
    (place / "libcuda.so.1").symlink_to("libcuda.so.550")
    return DriverFiles(folder, libraries=(place / "libcuda.so.1",))


@root_only
@pytest.mark.anyio
async def test_a_sandbox_can_use_its_own_gpu_and_sees_no_other(files: DriverFiles) -> None:
    async with BubblewrapDriver(driver_files=lambda: files) as driver:
        enforced = await driver.create(BOX, SandboxSpec(gpus=(ONE,)))
        assert enforced.gpus == ("GPU-1",)
        run = runner(driver, BOX)
        result = await run("cd /dev; ls -d nvidia*; for node in nvidia*; do head -c 3 $node | wc -c; done")
        assert result.stdout.decode().split() == ["nvidia-uvm", "nvidia1", "nvidiactl", "3", "3", "3"]
        for attempt in (
            "rm /dev/nvidia1",
            "mknod /dev/nvidia2 c 195 2",
            "touch /dev/new",
            "mknod ~/n c 195 2",
        ):
            assert (await run(attempt)).exit_code != 0
        await driver.create(SandboxId("sb_without"), SandboxSpec())
        assert (await runner(driver, SandboxId("sb_without"))("ls -d /dev/nvidia*")).exit_code != 0


@root_only
@pytest.mark.anyio
async def test_a_gpu_whose_node_is_missing_is_refused_and_nothing_is_left(files: DriverFiles) -> None:
    async with BubblewrapDriver(driver_files=lambda: files) as driver:
        with pytest.raises(Unsupported, match="no device nvidia2; run 'nvidia-modprobe"):
            await driver.create(BOX, SandboxSpec(gpus=(ONE, TWO)))
        await driver.create(BOX, SandboxSpec())


@needs_images
@pytest.mark.anyio
async def test_a_sandbox_with_an_image_finds_the_drivers_libraries(
    files: DriverFiles, tmp_path: Path
) -> None:
    store = ImageStore(tmp_path / "images", 100 * MIB, frozenset())
    places = ImagePlaces({}, store, tmp_path / "additions")
    async with BubblewrapDriver(driver_files=lambda: files, images=places) as driver:
        await driver.create(BOX, SandboxSpec(gpus=(ONE,), image="host"))
        result = await runner(driver, BOX)(
            "cat $LD_LIBRARY_PATH/libcuda.so.1; echo; head -c 3 /dev/nvidia1 | wc -c; echo x > $LD_LIBRARY_PATH/new"
        )
        assert result.stdout == b"a library\n3\n"
        assert result.exit_code != 0
