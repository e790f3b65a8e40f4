"""What is seen of a machine; NVML by a stand-in, since no GPU may be here."""

from types import SimpleNamespace
from typing import Any

import pytest

from lm_sandbox.models.hardware import MIB, physical_cores, read_gpus, read_hardware


class NvmlError(Exception):
    pass


def nvml(count: int = 2, fails_at: str = "") -> Any:  # noqa: ANN401 - a module
    """As pynvml answers for an RTX 3060 and a GTX 1060."""
    names, sizes, capabilities = ("RTX 3060", "GTX 1060"), (12, 6), ((8, 6), (6, 1))

    def step(name: str, answer: Any) -> Any:  # noqa: ANN401
        def call(*_: object) -> Any:  # noqa: ANN401
            if name == fails_at:
                raise NvmlError("Driver Not Loaded")
            return answer(*_) if callable(answer) else answer

        return call

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=step("init", None),
        nvmlShutdown=step("shutdown", None),
        nvmlDeviceGetCount=step("count", count),
        nvmlDeviceGetHandleByIndex=step("handle", lambda number: number),
        nvmlDeviceGetMemoryInfo=step(
            "memory", lambda n: SimpleNamespace(total=sizes[n] * 1024 * MIB, free=sizes[n] * 1000 * MIB)
        ),
        nvmlDeviceGetCudaComputeCapability=step("capability", lambda n: capabilities[n]),
        nvmlDeviceGetUUID=step("uuid", lambda n: f"GPU-{n}a"),
        nvmlDeviceGetName=step("name", lambda n: names[n]),
    )


def test_this_machine_tells_its_processor_and_memory() -> None:
    seen = read_hardware()
    assert seen.processor
    assert 1 <= physical_cores() == seen.cores <= seen.threads
    assert 0 < seen.available_bytes <= seen.memory_bytes


def test_gpus_are_told_with_memory_and_capability() -> None:
    (first, second), note = read_gpus(None, nvml())
    assert (first.name, first.total_bytes, first.capability) == ("RTX 3060", 12 * 1024 * MIB, (8, 6))
    assert (second.id, second.free_bytes) == ("GPU-1a", 6000 * MIB)
    assert note == ""


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        ("1", ["GPU-1a"]),
        ("1,0", ["GPU-1a", "GPU-0a"]),
        ("GPU-0", ["GPU-0a"]),
        ("", []),
        ("0,-1,1", ["GPU-0a"]),
        ("GPU-", []),
    ],
)
def test_only_the_gpus_that_cuda_may_see_count(visible: str, ids: list[str]) -> None:
    found, note = read_gpus(visible, nvml())
    assert [gpu.id for gpu in found] == ids
    assert bool(note) is not bool(ids)


@pytest.mark.parametrize(
    ("fails_at", "note"), [("init", "no NVIDIA driver"), ("memory", "Driver Not Loaded")]
)
def test_a_driver_that_fails_is_no_gpu_and_a_note(fails_at: str, note: str) -> None:
    found, said = read_gpus(None, nvml(fails_at=fails_at))
    assert found == ()
    assert note in said


def test_a_machine_without_gpus_says_so() -> None:
    assert read_gpus(None, nvml(count=0)) == ((), "There is none.")
