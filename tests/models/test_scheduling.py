"""Who makes room for whom, who waits for whom, and who gets a GPU: without any engine."""

from collections.abc import Mapping

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import DoesNotFit, NoCapacity
from lm_sandbox.identity.queueing import FairQueue
from lm_sandbox.models.estimate import needs_of
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.placement import Plan, Promised, Share, plan, room_of
from lm_sandbox.models.scheduler import Resident, make_room
from tests.models.hardware_cases import GTX_1060, RTX_3060, header, machine

HOST = Share("", "cpu", 0, 0, 0, 0, 0)


def needing(host: int, room: int) -> "object":
    """Places what takes so many bytes of host memory, of which so many are free."""

    def place(freed: Mapping[str, int]) -> Plan:
        if host > room + freed.get("", 0):
            raise DoesNotFit("too small")
        return Plan(HOST, (), 1, 1, 0)

    return place


def resident(name: str, size: int, idle_since: float, *, movable: bool = True) -> Resident:
    return Resident(name, {"": size}, movable, idle_since)


def test_nobody_makes_room_where_there_is_enough() -> None:
    assert make_room([resident("a", 5, 1)], needing(3, 3)).evict == ()  # type: ignore[arg-type]


def test_the_longest_unused_go_first_and_no_more_than_needed() -> None:
    loaded = [resident("young", 5, 9), resident("old", 5, 1), resident("middle", 5, 4)]
    assert make_room(loaded, needing(8, 0)).evict == ("old", "middle")  # type: ignore[arg-type]


def test_what_is_in_use_or_pinned_stays() -> None:
    loaded = [resident("busy", 9, 0, movable=False), resident("idle", 5, 8)]
    assert make_room(loaded, needing(4, 0)).evict == ("idle",)  # type: ignore[arg-type]
    with pytest.raises(DoesNotFit):
        make_room(loaded, needing(6, 0))  # type: ignore[arg-type]


def test_an_idle_model_leaves_the_gpu_to_one_that_is_wanted() -> None:
    hardware = machine(RTX_3060, GTX_1060)
    needs = needs_of(header(), 8192)
    first = plan(needs, room_of(hardware, Promised()))
    idle = Resident("first", first.uses, movable=True, idle_since=0)
    decision = make_room(
        [idle], lambda freed: plan(needs, room_of(hardware, Promised(first.uses, freed=freed)))
    )
    assert decision.evict == ("first",)
    assert decision.plan.gpu_layers == 49


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6), st.integers(0, 30), st.integers(0, 9)
)
def test_enough_is_freed_or_it_is_refused(loaded: list[tuple[int, bool]], needed: int, free: int) -> None:
    residents = [resident(str(n), size, n, movable=movable) for n, (size, movable) in enumerate(loaded)]
    sizes = {r.name: r.uses[""] for r in residents}
    movable = {r.name for r in residents if r.movable}
    try:
        decision = make_room(residents, needing(needed, free))  # type: ignore[arg-type]
    except DoesNotFit:
        assert free + sum(sizes[name] for name in movable) < needed
        return
    assert set(decision.evict) <= movable
    assert free + sum(sizes[name] for name in decision.evict) >= needed


async def queued(queue: FairQueue, *callers: str) -> list[str]:
    """Lets these callers ask in this order while one has the only turn; tells who was served when."""
    served: list[str] = []

    async def ask(caller: str) -> None:
        async with queue.turn(caller):
            served.append(caller)

    async with anyio.create_task_group() as tasks, queue.turn("holder"):
        for number, caller in enumerate(callers, 1):
            tasks.start_soon(ask, caller)
            while queue.length < number:
                await checkpoint()
    return served


@pytest.mark.anyio
async def test_callers_take_turns_however_much_one_asks() -> None:
    served = await queued(FairQueue(1, 99), *"aaaabcb")
    assert served == list("abcabaa")


@pytest.mark.anyio
async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    queue = FairQueue(1, 0)
    async with queue.turn():
        with pytest.raises(NoCapacity) as refusal:
            async with queue.turn():
                pass
    assert refusal.value.retry_after_s
    async with queue.turn():
        pass


@pytest.mark.anyio
async def test_one_that_gives_up_takes_nobodys_turn() -> None:
    queue = FairQueue(1, 9)
    served = []

    async def ask(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with queue.turn(name):
                served.append(name)

    scopes = [anyio.CancelScope() for _ in range(4)]
    async with anyio.create_task_group() as tasks, queue.turn():
        for number, scope in enumerate(scopes):
            tasks.start_soon(ask, str(number), scope)
        while queue.length < 4:
            await checkpoint()
        scopes[0].cancel()
        scopes[2].cancel()
        while queue.length > 2:
            await checkpoint()
    assert served == ["1", "3"]
    assert (queue.length, queue._free) == (0, 1)


class Tenant:
    """Models that are busy until told otherwise."""

    def __init__(self) -> None:
        self.busy = anyio.Event()
        self.log: list[str] = []

    async def vacate(self, gpu: str) -> None:
        self.log.append(f"asked for {gpu}")
        await self.busy.wait()
        self.log.append("gone")

    async def come_back(self) -> None:
        self.log.append("back")


@pytest.mark.anyio
async def test_a_lease_waits_for_what_is_in_flight_and_models_come_back_after() -> None:
    tenant, leases = Tenant(), GpuLeases()
    leases.settle(tenant)
    tenant.busy.set()
    async with leases.lease("GPU-1", 5):
        assert list(leases.lent) == ["GPU-1"]
        async with leases.lease("GPU-1", 5):
            pass
        assert "back" not in tenant.log
    assert tenant.log[-1] == "back"
    assert not leases.lent


@pytest.mark.anyio
async def test_a_lease_that_waits_in_vain_ends_nothing() -> None:
    tenant, leases = Tenant(), GpuLeases()
    leases.settle(tenant)
    with pytest.raises(NoCapacity):
        async with leases.lease("GPU-1", 0.01):
            pass
    assert tenant.log == ["asked for GPU-1", "back"]
    assert not leases.lent


@pytest.mark.anyio
async def test_without_a_tenant_a_gpu_is_free() -> None:
    leases = GpuLeases()
    async with leases.lease("GPU-1", 1):
        assert leases.lent
    assert not leases.lent
