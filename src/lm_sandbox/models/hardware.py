"""What this machine computes with: processor, memory and NVIDIA GPUs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        id: Its UUID, by which CUDA finds it too.
        name: For people.
        total_bytes: Its memory.
        free_bytes: What nobody uses of it.
        capability: CUDA's compute capability, (0, 0) where not told.
    """

    id: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine.

    Attributes:
        processor: Its name.
        threads: Logical cores that this process may use.
        cores: The same with two threads of one core as one.
        memory_bytes: Of the machine, or of this process's control group where that is less.
        available_bytes: What can be had of it without swapping.
        gpus: In the driver's order.
        gpu_note: Why no GPU is seen, else an empty string.
    """

    processor: str
    threads: int
    cores: int
    memory_bytes: int
    available_bytes: int
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str = ""


def read_hardware() -> Hardware:
    """Looks at this machine; takes some milliseconds."""
    memory = _memory()
    limit = _cgroup_limit()
    total = min(memory.get("MemTotal", 0), limit)
    gpus, note = read_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Hardware(
        processor=_processor(),
        threads=len(os.sched_getaffinity(0)),
        cores=physical_cores(),
        memory_bytes=total,
        available_bytes=min(memory.get("MemAvailable", 0), total),
        gpus=gpus,
        gpu_note=note,
    )


def physical_cores() -> int:
    """Counts the cores that this process may use, two threads of one core as one."""
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)


def read_gpus(visible: str | None, nvml: Any = None) -> tuple[tuple[Gpu, ...], str]:  # noqa: ANN401 - foreign
    """Lists the GPUs that NVML tells of, and why there are none.

    Args:
        visible: The value of `CUDA_VISIBLE_DEVICES`: numbers or ids, of which others are left out.
        nvml: The module `pynvml`, or one that does the same.
    """
    try:
        nvml = nvml or import_module("pynvml")
    except ImportError:
        return (), "The package nvidia-ml-py is not installed."
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return (), "There is no NVIDIA driver."
    try:
        found = [_gpu(nvml, number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        return (), f"The NVIDIA driver does not answer: {error}."
    finally:
        nvml.nvmlShutdown()
    seen = _visible(found, visible)
    return tuple(seen), "" if seen else "CUDA_VISIBLE_DEVICES hides every GPU." if found else "There is none."


def _gpu(nvml: Any, number: int) -> Gpu:  # noqa: ANN401 - a module without types
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        id=str(nvml.nvmlDeviceGetUUID(handle)),
        name=str(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        capability=(int(major), int(minor)),
    )


def _visible(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    if visible is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        matches = [
            gpu for number, gpu in enumerate(gpus)
            if entry and (entry == str(number) or gpu.id.startswith(entry))
        ]  # fmt: skip
        if len(matches) != 1:
            break  # As CUDA does: what stands behind a wrong entry does not count.
        chosen += matches
    return chosen


def _memory() -> dict[str, int]:
    found: dict[str, int] = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def _cgroup_limit() -> int:
    for path in _CGROUP_LIMITS:
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            continue  # Not there, or "max".
    return 2**63 - 1


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return os.uname().machine
