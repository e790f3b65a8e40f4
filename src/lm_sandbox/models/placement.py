"""Where the layers of a model go: a pure policy over what it needs and what there is.

llama.cpp keeps the first layers on the host and gives the rest, with the output behind the last one, to
the GPUs in order. So a plan is how many layers are offloaded and how many each GPU takes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lm_sandbox.errors import DoesNotFit
from lm_sandbox.models.estimate import GPU_CONTEXT_BYTES, PROCESS_BYTES, Needs
from lm_sandbox.models.hardware import MIB, Gpu, Hardware

# The desktop and other programs grow too.
GPU_RESERVE = 0.03
MEMORY_SHARE = 7 / 8
HOST_RESERVE = 128 * MIB
SMALL_MODEL_BYTES = 64 * MIB
# A GPU that computes everything leaves the host little more than sampling.
THREADS_BESIDE_GPU = 4
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Share:
    """What one device takes, in bytes.

    Attributes:
        id: The GPU's; empty for the host.
        name: For people.
        layers: How many, with the output as one.
        weights: Of these layers, and of the table of tokens on the host.
        cache: Of these layers.
        buffers: Everything else.
        room: What there was.
    """

    id: str
    name: str
    layers: int
    weights: int
    cache: int
    buffers: int
    room: int

    @property
    def total(self) -> int:
        """All that it takes."""
        return self.weights + self.cache + self.buffers


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a model goes.

    Attributes:
        host: What the processor and its memory take.
        gpus: Those in use, in the order in which they take layers.
        layers: Of the model, with the output as one.
        threads: For computing on the processor.
        prompt_cache: Bytes of the host's share for earlier prompts.
    """

    host: Share
    gpus: tuple[Share, ...]
    layers: int
    threads: int
    prompt_cache: int

    @property
    def gpu_layers(self) -> int:
        """How many layers are on GPUs."""
        return sum(share.layers for share in self.gpus)

    @property
    def uses(self) -> dict[str, int]:
        """Bytes by device; the host's id is empty."""
        return {share.id: share.total for share in (self.host, *self.gpus)}


@dataclass(frozen=True, slots=True)
class Room:
    """What may be used of a machine, in bytes.

    Attributes:
        hardware: The machine.
        host: Of its memory.
        gpus: Of each GPU, in the order of the machine.
    """

    hardware: Hardware
    host: int
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Promised:
    """What is promised to models and others, in bytes by device.

    Attributes:
        used: What our models take.
        pending: The part of it that they have not taken yet, as they are still being loaded.
        freed: The part of it that will be given back first.
        lent: The ids of GPUs that are another's for now.
    """

    used: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)
    freed: Mapping[str, int] = field(default_factory=dict)
    lent: Collection[str] = ()

    def left(self, device: str, usable: int, free: int) -> int:
        """What may be taken of a device, of which so much is usable in all and so much free now."""
        by_plan = usable - self.used.get(device, 0)
        by_look = free - self.pending.get(device, 0)
        return max(0, min(by_plan, by_look) + self.freed.get(device, 0))


def room_of(hardware: Hardware, promised: Promised, memory_bytes: int | None = None) -> Room:
    """Tells what may be used.

    Args:
        hardware: As it is now.
        promised: What is not to be had.
        memory_bytes: How much host memory all models may take; None for most of it.
    """
    budget = memory_bytes or int(hardware.memory_bytes * MEMORY_SHARE)
    host = promised.left("", budget, hardware.available_bytes - HOST_RESERVE)
    gpus = tuple(0 if gpu.id in promised.lent else _gpu_room(gpu, promised) for gpu in hardware.gpus)
    return Room(hardware, host, gpus)


def plan(needs: Needs, room: Room, *, most_gpu_layers: int | None = None, threads: int | None = None) -> Plan:
    """Places a model: as many layers as possible on as few GPUs as that takes, the best first.

    Args:
        needs: What it needs.
        room: What there is.
        most_gpu_layers: No more than these on GPUs; None for all that fit.
        threads: The user's own number.

    Raises:
        DoesNotFit: it does not; the message has the numbers.
    """
    layers = len(needs.weights) + 1
    most = layers if most_gpu_layers is None else min(layers, most_gpu_layers)
    shares: tuple[Share, ...] = ()
    for gpus in _choices(room):
        found = _offload(needs, gpus, most)
        if sum(share.layers for share in found) > sum(share.layers for share in shares):
            shares = found
    offloaded = sum(share.layers for share in shares)
    host = _host_share(needs, layers - offloaded, room)
    if host.total > room.host:
        raise DoesNotFit(_refusal(needs, room, host, shares))
    threads = threads or _threads(needs, layers - offloaded, room)
    return Plan(host, shares, layers, threads, needs.prompt_cache)


def _gpu_room(gpu: Gpu, promised: Promised) -> int:
    reserve = int(gpu.total_bytes * GPU_RESERVE)
    return promised.left(gpu.id, gpu.total_bytes - reserve, gpu.free_bytes - reserve)


def _choices(room: Room) -> list[list[tuple[Gpu, int]]]:
    """Each GPU alone, then the best two, three ...; those that are listed first are preferred."""
    ranked = sorted(
        zip(room.hardware.gpus, room.gpus, strict=True),
        key=lambda pair: (pair[0].capability, pair[0].total_bytes),
        reverse=True,
    )
    return [[pair] for pair in ranked] + [ranked[:count] for count in range(2, len(ranked) + 1)]


def _offload(needs: Needs, gpus: Sequence[tuple[Gpu, int]], most: int) -> tuple[Share, ...]:
    """Finds the most layers that these GPUs take; that fewer fit where more do makes halving exact."""
    low, high = 0, most
    shares: tuple[Share, ...] = ()
    while low < high:
        middle = (low + high + 1) // 2
        found = _fill(needs, gpus, middle)
        if found is None:
            high = middle - 1
        else:
            low, shares = middle, found
    return shares


def _fill(needs: Needs, gpus: Sequence[tuple[Gpu, int]], offloaded: int) -> tuple[Share, ...] | None:
    """Gives the last layers to the GPUs in order, each as many as fit; None where not all do."""
    costs = _costs(needs)[-offloaded:]
    shares: list[Share] = []
    for gpu, room in gpus:
        extras = needs.extras if not shares else 0
        share = Share(gpu.id, gpu.name, 0, 0, 0, GPU_CONTEXT_BYTES + needs.buffer + extras, room)
        while costs and share.total + sum(costs[0]) <= room:
            weights, cache, buffer = costs.pop(0)
            share = replace(
                share,
                layers=share.layers + 1,
                weights=share.weights + weights,
                cache=share.cache + cache,
                buffers=share.buffers + buffer,
            )
        if share.layers:
            shares.append(share)
    return None if costs else tuple(shares)


def _costs(needs: Needs) -> list[tuple[int, int, int]]:
    """Weights, cache and buffers of each layer on a GPU, and of the output behind them."""
    layers = [(weights, cache, 0) for weights, cache in zip(needs.weights, needs.cache, strict=True)]
    return [*layers, (needs.output, 0, needs.output_buffer)]


def _host_share(needs: Needs, layers: int, room: Room) -> Share:
    kept = max(0, layers - 1) if layers == len(needs.weights) + 1 else layers
    weights = needs.embedding + sum(needs.weights[:kept])
    buffers = PROCESS_BYTES + needs.prompt_cache
    if layers:
        buffers += needs.buffer
    if layers == len(needs.weights) + 1:
        weights += needs.host_output
        buffers += needs.output_buffer + needs.extras
    processor = room.hardware.processor
    return Share("", processor, layers, weights, sum(needs.cache[:kept]), buffers, room.host)


def _threads(needs: Needs, host_layers: int, room: Room) -> int:
    """Threads meet after every layer: a small model loses more by that than it gains."""
    if sum(needs.weights) + needs.embedding < SMALL_MODEL_BYTES:
        return 1
    cores = room.hardware.cores
    return cores if host_layers else min(cores, THREADS_BESIDE_GPU)


def _refusal(needs: Needs, room: Room, host: Share, shares: Sequence[Share]) -> str:
    gpus = ", ".join(
        f"{free / GIB:.1f} GiB of {gpu.name}" for gpu, free in zip(room.hardware.gpus, room.gpus, strict=True)
    )
    placed = sum(share.layers for share in shares)
    rest = f" With {placed} layers on GPUs, {host.total / GIB:.1f} GiB stay for it." if placed else ""
    return (
        f"The model needs {needs.total / GIB:.1f} GiB, {sum(needs.cache) / GIB:.1f} GiB of them for its "
        f"context. There are {room.host / GIB:.1f} GiB of memory{' and ' + gpus if gpus else ''} for it."
        f"{rest} Take a smaller quantisation, a shorter context, fewer slots or a smaller kv_type."
    )
