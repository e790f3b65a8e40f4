"""What the embedded llama.cpp does with room, turns and crashes: the real one, with the bundled model."""

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from lm_sandbox.config.models import LlamaCppSettings, ModelSettings
from lm_sandbox.errors import (
    Conflict,
    DoesNotFit,
    EngineUnavailable,
    ModelFailed,
    ModelNotFound,
    NoCapacity,
    Unsupported,
)
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.engine import Lease, ModelState
from lm_sandbox.models.engines.llamacpp import LlamaCppEngine
from lm_sandbox.models.engines.llamacpp_process import LoadJob, how_it_ended
from lm_sandbox.models.gguf import read_header
from lm_sandbox.models.gpu_leases import GpuLeases
from lm_sandbox.models.hardware import MIB, Hardware
from lm_sandbox.models.library import Library
from tests.models.hardware_cases import GTX_1060, RTX_3060, machine
from tests.models.test_engines import HELLO, NANO, Clock, answer

pytestmark = pytest.mark.anyio
# The bundled model takes about 214 MiB with two requests at once: one fits, two do not.
ONE = 300
ENDS = ("<|im_end|>", "<|endoftext|>")


@asynccontextmanager
async def serving(
    folder: Path,
    names: tuple[str, ...] = (),
    clock: Callable[[], float] | None = None,
    hardware: Hardware | None = None,
    leases: GpuLeases | None = None,
    **settings: object,
) -> AsyncIterator[LlamaCppEngine]:
    for name in names:
        shutil.copy(NANO, folder / f"{name}.gguf")
    engine = LlamaCppEngine(
        LlamaCppSettings.model_validate(settings),
        folder,
        clock=clock or Clock(),
        hardware=lambda: hardware or machine(),
        leases=leases,
    )
    async with engine:
        yield engine


async def states(engine: LlamaCppEngine) -> dict[str, ModelState]:
    return {model.name: model.state for model in await engine.models()}


async def loaded(engine: LlamaCppEngine) -> set[str]:
    return {name for name, state in (await states(engine)).items() if state is ModelState.LOADED}


async def use(engine: LlamaCppEngine, name: str) -> None:
    async with engine.acquire(name):
        pass


async def test_the_longest_unused_model_makes_room(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path, ("a", "b"), clock, memory_mib=2 * ONE - 100) as engine:
        for name in ("a", "b", "a", "nano"):
            clock.now += 1
            await use(engine, name)
        assert await loaded(engine) == {"a", "nano"}


async def test_a_model_in_use_is_not_unloaded_for_another(tmp_path: Path) -> None:
    async with serving(tmp_path, ("a",), memory_mib=ONE) as engine:
        async with engine.acquire("a"):
            with pytest.raises(NoCapacity) as refusal:
                await use(engine, "nano")
            assert refusal.value.retry_after_s
            assert await loaded(engine) == {"a"}
        await use(engine, "nano")
        assert await loaded(engine) == {"nano"}


async def test_a_pinned_model_stays_and_the_other_is_refused_with_numbers(tmp_path: Path) -> None:
    clock = Clock()
    pinned = {"a": ModelSettings(pinned=True)}
    async with serving(tmp_path, ("a",), clock, memory_mib=ONE, models=pinned) as engine:
        await use(engine, "a")
        with pytest.raises(DoesNotFit, match="GiB"):
            await use(engine, "nano")
        clock.now = 1e6
        await engine.unload_idle()
        assert await loaded(engine) == {"a"}


async def test_what_does_not_fit_is_refused_before_anything_is_unloaded(tmp_path: Path) -> None:
    huge = {"a": ModelSettings(parallel=64)}
    async with serving(tmp_path, ("a",), memory_mib=ONE, models=huge) as engine:
        await use(engine, "nano")
        with pytest.raises(DoesNotFit):
            await use(engine, "a")
        assert await loaded(engine) == {"nano"}
        assert "GiB" in (await engine.show("a")).problem
        assert (await states(engine))["a"] is ModelState.AVAILABLE


async def test_keep_alive_is_of_the_load_the_model_or_all(tmp_path: Path) -> None:
    clock = Clock()
    models = {"short": ModelSettings(keep_alive_s=10)}
    async with serving(tmp_path, ("short", "kept"), clock, idle_unload_s=100, models=models) as engine:
        await engine.load("short")
        await engine.load("kept", float("inf"))
        await engine.load("nano")
        for now, left in (
            (9, {"short", "kept", "nano"}),
            (10, {"kept", "nano"}),
            (100, {"kept"}),
            (1e9, {"kept"}),
        ):
            clock.now = now
            await engine.unload_idle()
            assert await loaded(engine) == left
        await engine.unload("kept")
        assert await loaded(engine) == set()


async def test_requests_over_the_limit_are_refused_and_the_rest_take_turns(tmp_path: Path) -> None:
    async with serving(tmp_path, parallel=1, queue=1) as engine:
        served: list[str] = []

        async def ask(caller: str) -> None:
            async with engine.acquire("nano", caller):
                served.append(caller)

        async with anyio.create_task_group() as tasks, engine.acquire("nano"), engine.acquire("nano"):
            tasks.start_soon(ask, "waits")
            while not engine._known["nano"].queue.length:
                await checkpoint()
            with pytest.raises(NoCapacity, match="1 requests wait"):
                await ask("refused")
            assert served == []
        assert served == ["waits"]


async def test_a_crash_is_told_to_the_request_that_it_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as engine, ChatClient() as chat:

        async def ask_and_crash() -> None:
            async with engine.acquire("nano") as lease:
                worker = engine._known["nano"].worker
                assert worker is not None
                stream = chat.stream_chat(lease, HELLO, sampling={"max_tokens": 100_000, "ignore_eos": True})
                await anext(stream)
                os.kill(worker._process.pid, signal.SIGSEGV)
                async for _ in stream:
                    pass

        with pytest.raises(EngineUnavailable, match=r"'nano' crashed \(SIGSEGV\) during the request"):
            await ask_and_crash()
        async with engine.acquire("nano") as lease:
            assert await answer(chat, lease)


async def test_while_it_backs_off_every_request_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path, clock=clock) as engine:
        for _ in range(2):
            async with engine.acquire("nano"):
                worker = engine._known["nano"].worker
                assert worker is not None
                os.kill(worker._process.pid, signal.SIGKILL)
                assert "was killed" in await worker.end_within(10)
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="2 times"):
                await use(engine, "nano")
        clock.now = 1.0
        await use(engine, "nano")


async def test_unloading_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    async with serving(tmp_path) as engine, ChatClient() as chat, anyio.create_task_group() as tasks:
        async with engine.acquire("nano") as lease:
            tasks.start_soon(engine.unload, "nano")
            while not engine._known["nano"].lock.statistics().locked:
                await checkpoint()
            assert await answer(chat, lease)
            assert await loaded(engine) == {"nano"}
        while await loaded(engine):
            await checkpoint()


async def test_a_gpu_is_vacated_without_ending_anything_and_models_come_back(tmp_path: Path) -> None:
    leases = GpuLeases()
    async with (
        serving(tmp_path, hardware=machine(RTX_3060, GTX_1060), leases=leases) as engine,
        ChatClient() as chat,
    ):
        got = anyio.Event()

        async def sandbox() -> None:
            async with leases.lease(RTX_3060.id, 60):
                got.set()
                plan = (await engine.show("nano")).plan
                assert plan is not None
                assert [share.id for share in plan.gpus] == [GTX_1060.id]

        async with anyio.create_task_group() as tasks:
            async with engine.acquire("nano") as lease:
                assert on_gpus(engine) == [RTX_3060.id]
                tasks.start_soon(sandbox)
                while not leases.lent:
                    await checkpoint()
                assert await answer(chat, lease)
                assert not got.is_set()
            await got.wait()
        assert await loaded(engine) == {"nano"}
        assert on_gpus(engine) == [RTX_3060.id]


def on_gpus(engine: LlamaCppEngine) -> list[str]:
    plan = engine._known["nano"].plan
    assert plan is not None
    return [share.id for share in plan.gpus]


async def test_the_worker_sees_the_planned_gpus_in_order_and_no_others(tmp_path: Path) -> None:
    async with serving(tmp_path, hardware=machine(RTX_3060, GTX_1060)) as engine:
        async with engine.acquire("nano"):
            worker = engine._known["nano"].worker
            assert worker is not None
            environ = Path(f"/proc/{worker._process.pid}/environ").read_bytes()
        assert f"CUDA_VISIBLE_DEVICES={RTX_3060.id}\0".encode() in environ + b"\0"


def test_the_order_for_a_worker_has_the_split_and_the_settings() -> None:
    job = LoadJob("m", "m", 8192, 2, 4, 49, tensor_split=(38, 11), gpus=("GPU-a", "GPU-b"))
    assert job.environment()["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert "CUDA_VISIBLE_DEVICES" not in LoadJob("m", "m", 1, 1, 1, -1).environment() | os.environ
    assert how_it_ended(-signal.SIGABRT) == "crashed (SIGABRT)"
    assert how_it_ended(3) == "ended with status 3"
    assert how_it_ended(None) == ""


async def test_embeddings_come_from_a_model_that_is_set_to_them(tmp_path: Path) -> None:
    models = {"embed": ModelSettings(purpose="embedding")}
    async with serving(tmp_path, ("embed",), models=models) as engine, engine.acquire("embed") as lease:
        async with httpx.AsyncClient(headers=dict(lease.headers), trust_env=False) as http:
            body = {"model": "embed", "input": ["hello", "a longer text " * 100]}
            told = (await http.post(f"{lease.base_url}/v1/embeddings", json=body)).json()
    vectors = [row["embedding"] for row in told["data"]]
    assert [len(vector) for vector in vectors] == [read_header(NANO).embedding_length] * 2
    assert vectors[0] != vectors[1]


@pytest.mark.parametrize("kind", ["bf16", "f32"])
async def test_the_cache_can_be_of_another_type(tmp_path: Path, kind: str) -> None:
    models = {"nano": {"kv_type": kind, "parallel": 1, "context_tokens": 1024}}
    async with serving(tmp_path, models=models) as engine, ChatClient() as chat:
        async with engine.acquire("nano") as lease:
            assert await answer(chat, lease)
        assert "1024 tokens for each of 1 requests" in (await engine.show("nano")).facts["context"]


async def test_a_setting_that_the_model_cannot_have_is_told_in_llama_cpps_words(tmp_path: Path) -> None:
    async with serving(tmp_path, models={"nano": {"kv_type": "q8_0"}}) as engine:
        with pytest.raises(ModelFailed, match="q8_0") as refusal:
            await use(engine, "nano")
        assert str(NANO.parent) not in refusal.value.message


async def test_a_draft_model_guesses_ahead_and_the_answer_is_the_same(tmp_path: Path) -> None:
    models = {"a": {"draft": str(NANO)}}
    async with serving(tmp_path, ("a",), models=models) as engine, ChatClient() as chat:
        said = []
        for name in ("a", "nano"):
            async with engine.acquire(name) as lease:
                stream = chat.stream_chat(lease, [ChatMessage("user", "hello")], sampling={"temperature": 0})
                said.append("".join([delta.content async for delta in stream]))
        assert said[0] == said[1]
        assert (await engine.show("a")).facts["draft model"] == "nano.gguf"


async def test_a_file_elsewhere_is_served_by_its_name_and_not_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.bin"
    shutil.copy(NANO, elsewhere)
    (tmp_path / "models").mkdir()
    models = {"mine": {"source": str(elsewhere)}, "later": {"source": "hf:someone/repo"}}
    async with serving(tmp_path / "models", models=models) as engine:
        await use(engine, "mine")
        with pytest.raises(Unsupported, match="yourself"):
            await engine.remove("mine")
        with pytest.raises(ModelFailed, match="models pull later"):
            await use(engine, "later")
        assert elsewhere.exists()


async def test_a_removed_model_is_unloaded_and_gone(tmp_path: Path) -> None:
    async with serving(tmp_path, ("a",)) as engine:
        async with engine.acquire("a"):
            with pytest.raises(Conflict, match="in use"):
                await engine.remove("a")
        await engine.remove("a")
        assert set(await states(engine)) == {"nano"}
        with pytest.raises(ModelNotFound):
            await use(engine, "a")


async def test_a_model_in_parts_is_one_model_with_all_its_bytes(tmp_path: Path) -> None:
    shutil.copy(NANO, tmp_path / "big-00001-of-00002.gguf")
    (tmp_path / "big-00002-of-00002.gguf").write_bytes(b"\0" * MIB)
    library = Library(tmp_path, {})
    [file, _] = library.find()
    assert file.version()[1] == NANO.stat().st_size + MIB
    assert library.header(file).weights.total >= read_header(NANO).weights.total + MIB
    assert library.header(file) is library.header(file)


async def test_show_tells_the_header_and_the_plan(tmp_path: Path) -> None:
    async with serving(tmp_path) as engine:
        before = await engine.show("nano")
        assert (before.facts["architecture"], before.facts["layers"]) == ("llama", "5")
        await use(engine, "nano")
        after = await engine.show("nano")
        assert before.plan == after.plan
        assert after.model.state is ModelState.LOADED
        with pytest.raises(ModelNotFound):
            await engine.show("no-such")


async def test_the_estimate_covers_what_the_worker_takes(tmp_path: Path) -> None:
    async with serving(tmp_path) as engine, engine.acquire("nano") as lease, ChatClient() as chat:
        await answer(chat, lease)
        known = engine._known["nano"]
        assert known.worker is not None
        assert known.plan is not None
        status = Path(f"/proc/{known.worker._process.pid}/status").read_text()
        resident = next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")
        )
        assert resident < known.plan.host.total
        assert json.dumps(known.plan.uses)


def test_lease_does_not_show_its_headers() -> None:
    assert "secret" not in repr(Lease("http://x", "m", {"Authorization": "secret"}))


async def test_a_request_right_after_another_meets_no_connection_that_is_being_closed(tmp_path: Path) -> None:
    """llama.cpp closes some connections right after a stream, without a word."""
    async with serving(tmp_path) as engine, engine.acquire("nano") as lease, ChatClient() as chat:
        for _ in range(100):
            asked = chat.stream_chat(lease, [ChatMessage("user", "hello")])
            assert "".join([delta.content async for delta in asked])


async def length_of_answer(engine: LlamaCppEngine, name: str, **asked: int) -> tuple[int, str]:
    """Has a model go on without an end, and tells how far it came and why it stopped."""
    async with engine.acquire(name) as lease:
        async with httpx.AsyncClient(headers=dict(lease.headers), trust_env=False, timeout=60) as http:
            body = {"prompt": "a", "logit_bias": [[token, False] for token in ENDS], **asked}
            told = (await http.post(f"{lease.base_url}/v1/completions", json=body)).json()
    return told["usage"]["completion_tokens"], told["choices"][0]["finish_reason"]


async def test_a_model_that_finds_no_end_stops_at_its_length_of_an_answer(tmp_path: Path) -> None:
    models = {"short": {"answer_tokens": 40}, "endless": {"context_tokens": 512}}
    async with serving(tmp_path, ("short", "endless"), models=models) as engine:
        assert await length_of_answer(engine, "nano") == (256, "length")
        assert await length_of_answer(engine, "nano", max_tokens=300) == (300, "length")
        assert await length_of_answer(engine, "short") == (40, "length")
        assert (await length_of_answer(engine, "endless"))[0] > 500
