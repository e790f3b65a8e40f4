"""Terminals as the service keeps them: several viewers, slow ones, bounds, and the sandbox's own life."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import (
    Conflict,
    Forbidden,
    Gone,
    LmSandboxError,
    QuotaReached,
    SandboxFailed,
    SandboxNotFound,
    TerminalNotFound,
    TooLarge,
)
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes import terminal_book
from lm_sandbox.sandboxes.driver import RunState
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.process import Exit
from lm_sandbox.sandboxes.sandbox import NewSandbox, Sandbox, SandboxState
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.terminal import TerminalSize
from lm_sandbox.sandboxes.terminal_book import Ended, LiveTerminal, Replayed, Resized, Shown, TerminalEvent
from lm_sandbox.sandboxes.terminals import NewTerminal, Terminals
from lm_sandbox.storage.database import Database
from tests.conftest import eventually
from tests.sandboxes.fake_driver import FakeDriver

ANNA = Principal("anna", "Anna", frozenset({Scope.SANDBOXES}))
BOB = Principal("bob", "Bob", frozenset({Scope.SANDBOXES}))
SIZE = TerminalSize()
SETTINGS = SandboxSettings(
    max_terminals=3, max_terminal_viewers=2, scroll_back_kib=64, max_command_bytes=1000, idle_timeout_s=100
)

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """A service with one sandbox of Anna's."""

    def __init__(
        self, driver: FakeDriver, service: SandboxService, terminals: Terminals, clock: Clock
    ) -> None:
        self.driver = driver
        self.service = service
        self.terminals = terminals
        self.clock = clock
        self.sandbox: Sandbox

    async def open(self, new: NewTerminal | None = None) -> LiveTerminal:
        return await self.terminals.open(ANNA, self.sandbox.id, new or NewTerminal())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    driver, clock = FakeDriver(), Clock()
    async with (
        Database(tmp_path / "test.db") as database,
        SnapshotStore(database, tmp_path / "snapshots", 10 * MIB) as snapshots,
        Networks(driver) as networks,
        SandboxService(
            driver, SETTINGS, snapshots, SandboxStore(database), tmp_path / "spool", clock=clock
        ) as service,
        Terminals(service, driver, networks, SETTINGS) as terminals,
    ):
        made = World(driver, service, terminals, clock)
        made.sandbox = await service.create(ANNA, NewSandbox())
        yield made


async def watch(terminal: LiveTerminal, events: list[TerminalEvent]) -> None:
    async for event in terminal.follow():
        events += [event]


def shown(events: list[TerminalEvent]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Shown))


async def test_everybody_sees_the_same_from_the_scroll_back_to_the_end(world: World) -> None:
    terminal = await world.open()
    fake = world.driver.terminals[0]
    await fake.show(b"early ")
    await eventually(lambda: terminal.scroll_back.end == 6)
    first: list[TerminalEvent] = []
    second: list[TerminalEvent] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, terminal, first)
        await fake.show(b"middle ")
        await eventually(lambda: shown(first) == b"early middle ")
        tasks.start_soon(watch, terminal, second)
        await fake.show(b"late")
        fake.end(Exit(3, None))
    assert shown(first) == shown(second) == b"early middle late"
    assert first[0] == second[0] == Replayed(SIZE)
    assert first[-1] == second[-1] == Ended(Exit(3, None))
    again: list[TerminalEvent] = []
    await watch(terminal, again)
    assert again == [Replayed(SIZE), Shown(b"early middle late"), Ended(Exit(3, None))]
    assert fake.closed


async def test_a_slow_viewer_stalls_nobody_and_gets_the_scroll_back_anew(world: World) -> None:
    terminal = await world.open()
    fake = world.driver.terminals[0]
    slow = terminal.follow()
    assert await anext(slow) == Replayed(SIZE)
    fast: list[TerminalEvent] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, terminal, fast)
        for number in range(100):
            await fake.show(b"%04d\n" % number + b"x" * 8000)
            await eventually(lambda: len(shown(fast)) % 8005 == 0 and shown(fast))
        await eventually(lambda: len(shown(fast)) == 800_500)
        assert [event for event in fast if isinstance(event, Replayed)] == [Replayed(SIZE)]
        assert terminal.scroll_back.end - terminal.scroll_back.start <= 64 * 1024
        assert await anext(slow) == Replayed(SIZE)
        fresh = await anext(slow)
        assert isinstance(fresh, Shown)
        assert fresh.data.endswith(b"x" * 100)
        assert shown(fast).endswith(fresh.data)
        fake.end(Exit(0, None))
    assert [event async for event in slow] == [Ended(Exit(0, None))]


async def test_a_new_size_is_told_to_all(world: World) -> None:
    terminal = await world.open(NewTerminal(size=TerminalSize(10, 20)))
    fake = world.driver.terminals[0]
    assert fake.spec.size == TerminalSize(10, 20)
    events: list[TerminalEvent] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, terminal, events)
        await eventually(lambda: events)
        await terminal.resize(TerminalSize(50, 132))
        await eventually(lambda: len(events) == 2)
        fake.end(Exit(0, None))
    assert events == [Replayed(TerminalSize(10, 20)), Resized(TerminalSize(50, 132)), Ended(Exit(0, None))]
    assert fake.sizes == [TerminalSize(50, 132)]


async def test_input_and_signals_reach_the_program_until_it_ends(world: World) -> None:
    terminal = await world.open()
    fake = world.driver.terminals[0]
    await terminal.feed(b"ls\n")
    await terminal.signal(2)
    assert (fake.keyboard.typed, fake.signals) == (b"ls\n", [2])
    fake.end(Exit(0, None))
    await eventually(lambda: not terminal.running)
    with pytest.raises(Conflict, match="has ended"):
        await terminal.feed(b"more")
    with pytest.raises(Conflict, match="has ended"):
        await terminal.resize(SIZE)
    with pytest.raises(Conflict, match="has ended"):
        await terminal.signal(2)


async def test_input_that_nobody_reads_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_book, "INPUT_S", 0.05)
    terminal = await world.open()
    world.driver.terminals[0].keyboard.stuck = True
    with pytest.raises(Conflict, match="does not read"):
        await terminal.feed(b"x")


async def test_the_end_of_the_sandbox_is_told(world: World) -> None:
    terminal = await world.open()
    events: list[TerminalEvent] = []
    failures: list[LmSandboxError] = []

    async def see() -> None:
        try:
            await watch(terminal, events)
        except LmSandboxError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(see)
        await eventually(lambda: events)
        world.driver.terminals[0].end(None)
    assert isinstance(failures[0], SandboxFailed)
    assert not terminal.running
    assert world.sandbox.state is SandboxState.FAILED


async def test_there_are_no_more_than_allowed_and_ended_ones_make_room(world: World) -> None:
    opened = [await world.open() for _ in range(3)]
    with pytest.raises(QuotaReached, match="3 terminals"):
        await world.open()
    world.driver.terminals[1].end(Exit(0, None))
    await eventually(lambda: not opened[1].running)
    assert world.terminals.find(ANNA, world.sandbox.id, opened[1].id) is opened[1]
    newest = await world.open()
    page, more = world.terminals.page(ANNA, world.sandbox.id, limit=10)
    assert (page, more) == ([opened[0], opened[2], newest], False)
    assert world.terminals.page(ANNA, world.sandbox.id, after=opened[0].id, limit=1) == ([opened[2]], True)
    with pytest.raises(TerminalNotFound):
        world.terminals.find(ANNA, world.sandbox.id, opened[1].id)


async def test_opened_at_once_there_are_no_more_either(world: World) -> None:
    refused: list[QuotaReached] = []

    async def one() -> None:
        try:
            await world.open()
        except QuotaReached as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(one)
    assert len(refused) == 5
    assert len(world.driver.terminals) == 3


async def test_a_terminal_has_so_many_places(world: World) -> None:
    terminal = await world.open()
    where = (ANNA, world.sandbox.id, terminal.id)
    with world.terminals.attend(*where), world.terminals.attend(*where) as same:
        assert same is terminal
        assert terminal.viewers == 2
        with pytest.raises(QuotaReached, match="All 2 places"), world.terminals.attend(*where):
            pass
    assert terminal.viewers == 0


async def test_others_find_nothing(world: World) -> None:
    terminal = await world.open()
    with pytest.raises(SandboxNotFound):
        world.terminals.find(BOB, world.sandbox.id, terminal.id)
    with pytest.raises(SandboxNotFound):
        await world.terminals.open(BOB, world.sandbox.id, NewTerminal())
    with pytest.raises(SandboxNotFound):
        await world.terminals.close(BOB, world.sandbox.id, terminal.id)
    nobody = Principal("x", "X", frozenset({Scope.MODELS}))
    with pytest.raises(Forbidden):
        await world.terminals.open(nobody, world.sandbox.id, NewTerminal())
    other = await world.service.create(ANNA, NewSandbox())
    with pytest.raises(TerminalNotFound):
        world.terminals.find(ANNA, other.id, terminal.id)


async def test_closing_kills_and_forgets(world: World) -> None:
    terminal = await world.open()
    where = (ANNA, world.sandbox.id, terminal.id)
    await world.service.set_state(ANNA, world.sandbox.id, RunState.PAUSED)
    with pytest.raises(Conflict, match="paused"):
        await world.terminals.close(*where)
    with pytest.raises(Conflict, match="paused"):
        await world.open()
    await world.service.set_state(ANNA, world.sandbox.id, RunState.RUNNING)
    await world.terminals.close(*where)
    assert terminal.exited == Exit(None, 9)
    with pytest.raises(TerminalNotFound):
        world.terminals.find(*where)


async def test_a_deleted_sandbox_has_none(world: World) -> None:
    terminal = await world.open()
    await world.service.delete(ANNA, world.sandbox.id)
    with pytest.raises(Gone):
        world.terminals.find(ANNA, world.sandbox.id, terminal.id)


async def test_what_happens_on_a_terminal_keeps_its_sandbox_from_being_idle(world: World) -> None:
    terminal = await world.open()
    fake = world.driver.terminals[0]
    world.clock.now = 90
    await fake.show(b"x")
    await eventually(lambda: terminal.scroll_back.end == 1)
    world.clock.now = 180
    await world.service.reap()
    await terminal.resize(TerminalSize(5, 5))
    with world.terminals.attend(ANNA, world.sandbox.id, terminal.id):
        world.clock.now = 900
        await world.service.reap()
    assert world.service.get(ANNA, world.sandbox.id)
    world.clock.now = 1100
    await world.service.reap()
    with pytest.raises(Gone):
        world.service.get(ANNA, world.sandbox.id)


async def test_what_is_run_is_as_for_a_command(world: World) -> None:
    await world.open(NewTerminal(command="echo hi; ls", cwd="/tmp", env={"A": "b"}))
    await world.open(NewTerminal(command=("top", "-b")))
    await world.open()
    specs = [fake.spec for fake in world.driver.terminals]
    assert specs[0].argv == ("/bin/bash", "-c", "echo hi; ls")
    assert (specs[0].cwd, specs[0].env) == ("/tmp", {"A": "b"})
    assert specs[1].argv == ("top", "-b")
    assert specs[2].argv == ("/bin/bash", "-l")
    with pytest.raises(TooLarge):
        await world.open(NewTerminal(command="x" * 2000))


async def test_the_end_of_the_server_closes_all(world: World) -> None:
    terminal = await world.open()
    await world.terminals.__aexit__()
    assert world.driver.terminals[0].closed
    with pytest.raises(LmSandboxError):
        await watch(terminal, [])
