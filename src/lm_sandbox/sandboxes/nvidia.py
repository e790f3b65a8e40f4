"""NVIDIA GPUs as the kernel driver tells of them, and what of the driver a program needs to use one.

Sources: the driver's `/proc/driver/nvidia` (its README has a chapter on it), and the device nodes and
libraries that NVIDIA's own container toolkit puts into its CDI specifications.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/driver/nvidia")
LIBRARY_FOLDERS = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/lib64"),
    Path("/usr/lib"),
)
# What computing takes; nothing for screens.
LIBRARIES = re.compile(r"libcuda\.so\.1|libnvidia-(ml|ptxjitcompiler|nvvm|gpucomp|opencl)\.so\.[0-9.]+")
PROGRAMS = (Path("/usr/bin/nvidia-smi"),)


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU of this machine.

    Attributes:
        id: Its UUID, by which every part of the driver knows it.
        minor: The number of its device node.
        name: For people.
    """

    id: str
    minor: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class DriverFiles:
    """Where the driver's parts are on this host.

    Attributes:
        devices: The folder with its device nodes.
        libraries: What programs load, by the names they ask for.
        programs: What shows how the GPUs are.
    """

    devices: Path = Path("/dev")
    libraries: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()

    def nodes(self, gpus: Iterable[GpuDevice]) -> list[Path]:
        """Lists the device nodes that these GPUs take, and no others: control, memory, then one each."""
        shared = [self.devices / name for name in ("nvidiactl", "nvidia-uvm")]
        return shared + [self.devices / f"nvidia{gpu.minor}" for gpu in gpus]


def read_gpus(proc: Path = PROC) -> tuple[GpuDevice, ...]:
    """Lists the GPUs, in the order in which NVIDIA's tools number them."""
    found = []
    for information in sorted(proc.glob("gpus/*/information")):
        lines = [line.partition(":") for line in information.read_text(errors="replace").splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in lines}
        minor, uuid = fields.get("Device Minor", ""), fields.get("GPU UUID", "")
        if minor.isdecimal() and uuid.startswith("GPU-"):
            found.append(GpuDevice(uuid, int(minor), fields.get("Model", "")))
    return tuple(found)


def find_driver_files(folders: Iterable[Path] = LIBRARY_FOLDERS) -> DriverFiles:
    """Looks up where the driver's parts are."""
    libraries: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if LIBRARIES.fullmatch(path.name):
                    libraries.setdefault(path.name, path)
    programs = tuple(path for path in PROGRAMS if path.exists())
    return DriverFiles(libraries=tuple(libraries.values()), programs=programs)
