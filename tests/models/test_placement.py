"""Where models go, on machines that are not this one."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lm_sandbox.errors import DoesNotFit
from lm_sandbox.models.estimate import GPU_CONTEXT_BYTES, KV_BYTES, Needs, needs_of
from lm_sandbox.models.hardware import MIB, Gpu, Hardware
from lm_sandbox.models.placement import Plan, Promised, Room, plan, room_of
from tests.models.hardware_cases import GIB, GTX_1060, RTX_3060, header, machine

NOTHING: dict[str, int] = {}


def placed(needs: Needs, hardware: Hardware, used: dict[str, int] = NOTHING, **more: int) -> Plan:
    return plan(needs, room_of(hardware, Promised(used)), **more)


def test_a_model_that_fits_goes_onto_the_better_gpu_alone() -> None:
    found = placed(needs_of(header(), 8192), machine(GTX_1060, RTX_3060))
    assert [(share.name, share.layers) for share in found.gpus] == [("RTX 3060", 49)]
    assert found.threads == 4
    assert found.host.cache == 0


def test_a_model_too_large_for_one_is_split_over_a_3060_and_a_1060() -> None:
    found = placed(needs_of(header(), 16 * 1024), machine(GTX_1060, RTX_3060))
    assert [share.name for share in found.gpus] == ["RTX 3060", "GTX 1060"]
    assert found.gpu_layers == found.layers == 49
    first, second = found.gpus
    assert first.layers > second.layers > 0
    for share in found.gpus:
        assert share.total <= share.room < 12 * GIB


def test_what_fits_on_no_gpus_stays_on_the_processor_with_all_its_cores() -> None:
    found = placed(
        needs_of(header(layers=80, layer_bytes=500 * MIB), 8192), machine(GTX_1060, RTX_3060, memory=64 * GIB)
    )
    assert 20 < found.gpu_layers < 40
    assert found.host.layers == 81 - found.gpu_layers
    assert found.threads == 6
    assert found.host.weights >= found.host.layers * 500 * MIB


def test_a_small_model_goes_onto_the_slow_gpu_when_the_fast_one_is_taken() -> None:
    small = needs_of(
        header(layers=28, layer_bytes=60 * MIB, kv_elements=1024, embedding=2048, feed_forward=6144), 8192
    )
    found = placed(small, machine(RTX_3060, GTX_1060), {RTX_3060.id: 11 * GIB})
    assert [share.name for share in found.gpus] == ["GTX 1060"]
    lent = plan(small, room_of(machine(RTX_3060, GTX_1060), Promised(lent=[RTX_3060.id])))
    assert [share.name for share in lent.gpus] == ["GTX 1060"]


def test_without_gpus_it_is_the_processor_and_a_tiny_model_takes_one_thread() -> None:
    found = placed(needs_of(header(), 8192), machine())
    assert found.gpus == ()
    assert (found.threads, found.host.layers) == (6, 49)
    tiny = header(layers=5, layer_bytes=MIB // 2, kv_elements=384, embedding=192, feed_forward=512)
    assert placed(replace(needs_of(tiny, 4096), embedding=MIB), machine()).threads == 1


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(DoesNotFit) as refusal:
        placed(
            needs_of(header(layers=80, layer_bytes=GIB), 8192), machine(GTX_1060, RTX_3060, memory=16 * GIB)
        )
    said = refusal.value.message
    for part in ("needs 8", "GiB of memory", "of RTX 3060", "of GTX 1060", "smaller quantisation"):
        assert part in said
    assert "\n" not in said


def test_the_users_own_numbers_win() -> None:
    found = placed(needs_of(header(), 8192), machine(RTX_3060), most_gpu_layers=10, threads=3)
    assert (found.gpu_layers, found.threads) == (10, 3)
    assert placed(needs_of(header(), 8192), machine(RTX_3060), most_gpu_layers=0).gpus == ()


def test_a_smaller_cache_type_and_a_shorter_context_need_less() -> None:
    sizes = [needs_of(header(), 8192, kind).total for kind in ("f32", "f16", "q8_0", "q4_0")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert needs_of(header(), 4096).total < needs_of(header(), 8192).total
    # 48 layers of 2048 numbers of two bytes, 8192 times: the 1.5 GiB that such a model is known for.
    assert sum(needs_of(header(), 8192).cache) == 48 * 2048 * 2 * 8192


def test_a_budget_is_held_also_where_more_memory_is_free() -> None:
    hardware = machine(memory=64 * GIB)
    assert room_of(hardware, Promised(), 8 * GIB).host == 8 * GIB
    assert room_of(hardware, Promised({"": 3 * GIB}), 8 * GIB).host == 5 * GIB
    assert room_of(hardware, Promised({"": 3 * GIB}, freed={"": 3 * GIB}), 8 * GIB).host == 8 * GIB
    assert room_of(replace(hardware, available_bytes=GIB), Promised()).host < GIB


def test_what_a_model_is_about_to_take_is_not_promised_twice() -> None:
    """Others have 6 of the 12 GiB; of the rest, 5 are promised to a model that is still being loaded."""
    hardware = machine(replace(RTX_3060, free_bytes=6 * GIB))
    takes = {RTX_3060.id: 5 * GIB}
    [room] = room_of(hardware, Promised(takes, pending=takes)).gpus
    assert room < GIB
    loaded = machine(replace(RTX_3060, free_bytes=GIB))
    [room] = room_of(loaded, Promised(takes)).gpus
    assert room < GIB
    [room] = room_of(loaded, Promised(takes, freed=takes)).gpus
    assert 5 * GIB < room < 6 * GIB


amounts = st.integers(0, 30 * GIB)
gpus = st.builds(
    lambda number, total, free, major: Gpu(
        f"GPU-{number}", f"gpu {number}", total, min(free, total), (major, 0)
    ),
    st.integers(0, 10**9),
    st.integers(MIB, 80 * GIB),
    st.integers(0, 80 * GIB),
    st.integers(5, 9),
)
machines = st.builds(
    lambda cards, memory: Hardware("cpu", 8, 4, memory, memory, tuple(cards)),
    st.lists(gpus, max_size=5, unique_by=lambda gpu: gpu.id),
    st.integers(MIB, 256 * GIB),
)
models = st.builds(
    lambda sizes, kv, rest: Needs(
        weights=tuple(sizes),
        cache=(kv,) * len(sizes),
        output=rest,
        output_buffer=rest // 7,
        host_output=rest // 2,
        embedding=rest // 3,
        buffer=rest // 5,
        extras=rest // 11,
        prompt_cache=kv,
    ),
    st.lists(st.integers(0, 2 * GIB), max_size=60),
    st.integers(0, GIB),
    st.integers(0, 2 * GIB),
)


def layers_of(needs: Needs, room: Room) -> int:
    """Layers on GPUs; so few that none is refused counts as what it is."""
    try:
        return plan(needs, room).gpu_layers
    except DoesNotFit:
        return -1


@given(models, machines)
def test_no_plan_is_over_any_devices_room(needs: Needs, hardware: Hardware) -> None:
    room = room_of(hardware, Promised())
    try:
        found = plan(needs, room)
    except DoesNotFit:
        return
    rooms = dict(zip((gpu.id for gpu in hardware.gpus), room.gpus, strict=True))
    for share in found.gpus:
        gpu = next(gpu for gpu in hardware.gpus if gpu.id == share.id)
        assert share.total <= rooms[share.id] <= gpu.free_bytes
        assert share.layers > 0
        assert share.buffers >= GPU_CONTEXT_BYTES
    assert found.host.total <= room.host <= hardware.memory_bytes
    assert found.gpu_layers + found.host.layers == found.layers == len(needs.weights) + 1
    on_gpus = sum(share.cache for share in found.gpus)
    assert on_gpus + found.host.cache == sum(needs.cache)
    assert len({share.id for share in found.gpus}) == len(found.gpus)
    assert 1 <= found.threads <= hardware.cores


@given(models, machines, st.data())
def test_more_memory_never_brings_fewer_layers_and_never_a_refusal(
    needs: Needs, hardware: Hardware, data: st.DataObject
) -> None:
    room = room_of(hardware, Promised())
    more = Room(
        hardware,
        room.host + data.draw(amounts),
        tuple(free + data.draw(amounts) for free in room.gpus),
    )
    assert layers_of(needs, more) >= layers_of(needs, room)


@given(models, machines, st.sampled_from(sorted(KV_BYTES)))
def test_a_larger_need_never_brings_more_layers(needs: Needs, hardware: Hardware, kind: str) -> None:
    assume(needs.weights)
    room = room_of(hardware, Promised())
    bigger = replace(needs, cache=tuple(int(size * (1 + KV_BYTES[kind])) for size in needs.cache))
    assert layers_of(bigger, room) <= layers_of(needs, room)


@given(st.integers(1, 60), st.integers(1, 131_072), st.sampled_from(sorted(KV_BYTES)))
def test_estimates_grow_with_the_context(layers: int, context: int, kind: str) -> None:
    model = header(layers=layers)
    assert needs_of(model, context, kind).total <= needs_of(model, context + 1, kind).total
