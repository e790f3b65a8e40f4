"""The embedded llama.cpp with the real model, and engines that run on their own."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import anyio
import httpx
import pytest

from lm_sandbox.config.models import LlamaCppSettings
from lm_sandbox.errors import EngineUnavailable, ModelFailed, ModelNotFound, UpstreamError
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.engine import Lease, ModelState
from lm_sandbox.models.engines.llamacpp import LlamaCppEngine
from lm_sandbox.models.engines.llamacpp_model import back_off_s
from lm_sandbox.models.engines.ollama import OllamaEngine
from lm_sandbox.models.engines.openai import OpenAIEngine, Upstream
from lm_sandbox.models.registry import ModelRegistry

NANO = Path(str(resources.files("lm_sandbox.models.bundled") / "nano.gguf"))
HELLO = [ChatMessage("user", "hello")]

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock) -> AsyncIterator[LlamaCppEngine]:
    async with LlamaCppEngine(LlamaCppSettings(idle_unload_s=100), tmp_path, clock=clock) as started:
        yield started


@pytest.fixture
async def chat() -> AsyncIterator[ChatClient]:
    async with ChatClient() as client:
        yield client


async def answer(chat: ChatClient, lease: Lease) -> str:
    return "".join([delta.content async for delta in chat.stream_chat(lease, HELLO)])


async def state(engine: LlamaCppEngine, name: str = "nano") -> ModelState:
    return next(model.state for model in await engine.models() if model.name == name)


def pid_of(engine: LlamaCppEngine) -> int:
    worker = engine._known["nano"].worker
    assert worker is not None
    return worker._process.pid


async def test_a_model_is_loaded_when_first_needed_and_answers(
    engine: LlamaCppEngine, chat: ChatClient
) -> None:
    assert await state(engine) is ModelState.AVAILABLE
    async with engine.acquire("nano") as lease:
        assert await answer(chat, lease)
    assert await state(engine) is ModelState.LOADED


async def test_many_that_wait_share_one_load(engine: LlamaCppEngine) -> None:
    pids = set()

    async def use() -> None:
        async with engine.acquire("nano"):
            pids.add(pid_of(engine))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(use)
    assert len(pids) == 1


async def test_nobody_without_the_key_can_use_the_worker(engine: LlamaCppEngine) -> None:
    async with engine.acquire("nano") as lease, httpx.AsyncClient() as stranger:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        refused = await stranger.post(f"{lease.base_url}/v1/chat/completions", json=body)
        assert refused.status_code == 401
        assert "127.0.0.1" in lease.base_url
        assert lease.headers["Authorization"] not in repr(lease)


async def test_the_key_and_the_environment_do_not_show_in_the_process(
    engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "of-the-server")
    async with engine.acquire("nano") as lease:
        proc = Path(f"/proc/{pid_of(engine)}")
        key = lease.headers["Authorization"].split()[1].encode()
        assert key not in (proc / "cmdline").read_bytes()
        assert b"of-the-server" not in (proc / "environ").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
async def test_a_crashed_worker_is_replaced(engine: LlamaCppEngine, chat: ChatClient, number: int) -> None:
    async with engine.acquire("nano"):
        first = pid_of(engine)
    os.kill(first, number)
    await engine._known["nano"].worker._process.wait()  # type: ignore[union-attr]
    async with engine.acquire("nano") as lease:
        assert pid_of(engine) != first
        assert await answer(chat, lease)


async def test_a_worker_that_crashes_again_is_waited_for(engine: LlamaCppEngine, clock: Clock) -> None:
    for _ in range(2):
        async with engine.acquire("nano"):
            os.kill(pid_of(engine), signal.SIGKILL)
            await engine._known["nano"].worker._process.wait()  # type: ignore[union-attr]
    with pytest.raises(EngineUnavailable) as refusal:
        async with engine.acquire("nano"):
            pass
    assert refusal.value.retry_after_s
    clock.now = 5
    async with engine.acquire("nano"):
        assert await state(engine) is ModelState.LOADED


async def test_an_idle_model_is_unloaded_and_a_leased_one_is_not(
    engine: LlamaCppEngine, clock: Clock
) -> None:
    async with engine.acquire("nano"):
        clock.now = 1000
        await engine.unload_idle()
        assert await state(engine) is ModelState.LOADED
    clock.now = 1099
    await engine.unload_idle()
    assert await state(engine) is ModelState.LOADED
    clock.now = 1100
    await engine.unload_idle()
    assert await state(engine) is ModelState.AVAILABLE


@pytest.mark.parametrize("size", [0, 3, 1000, 100_000, 2_000_000])
async def test_a_truncated_model_is_marked_failed_and_the_rest_goes_on(
    engine: LlamaCppEngine, tmp_path: Path, chat: ChatClient, size: int
) -> None:
    (tmp_path / "cut.gguf").write_bytes(NANO.read_bytes()[:size])
    with pytest.raises(ModelFailed, match="cut"):
        async with engine.acquire("cut"):
            pass
    broken = next(model for model in await engine.models() if model.name == "cut")
    assert broken.state is ModelState.FAILED
    assert broken.reason
    assert str(tmp_path) not in broken.reason
    async with engine.acquire("nano") as lease:
        assert await answer(chat, lease)


async def test_a_failed_model_is_tried_again_when_its_file_changes(
    engine: LlamaCppEngine, tmp_path: Path
) -> None:
    file = tmp_path / "late.gguf"
    file.write_bytes(NANO.read_bytes()[:100_000])
    with pytest.raises(ModelFailed):
        async with engine.acquire("late"):
            pass
    shutil.copy(NANO, file)
    async with engine.acquire("late"):
        assert await state(engine, "late") is ModelState.LOADED


async def test_an_unknown_model_is_not_found_with_those_that_exist(engine: LlamaCppEngine) -> None:
    with pytest.raises(ModelNotFound, match="nano"):
        async with engine.acquire("no-such"):
            pass


async def test_too_long_a_prompt_is_refused_with_both_numbers(tmp_path: Path, chat: ChatClient) -> None:
    settings = LlamaCppSettings(context_tokens=256)
    shutil.copy(NANO, tmp_path / "small.gguf")
    async with LlamaCppEngine(settings, tmp_path) as engine, engine.acquire("small") as lease:
        body = b'{"model": "small", "prompt": "' + b"a b c " * 2000 + b'"}'
        async with chat.forward(lease, "/v1/completions", body) as refused:
            text = b"".join([piece async for piece in refused.pieces]).decode()
        assert refused.status == 400
        assert "256" in text


async def test_leaving_the_engine_ends_its_workers(tmp_path: Path) -> None:
    async with LlamaCppEngine(LlamaCppSettings(), tmp_path) as engine, engine.acquire("nano"):
        pid = pid_of(engine)
    assert not Path(f"/proc/{pid}").exists()


def test_back_off_grows_to_a_bound() -> None:
    assert [back_off_s(n) for n in (0, 1, 2, 3, 20)] == [0, 1, 2, 4, 30]


@asynccontextmanager
async def upstream(reply: bytes) -> AsyncIterator[str]:
    """A server that gives every connection these bytes and closes it."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(reply)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


def http(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: int = 0) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body) + extra}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


async def test_ollama_is_listed_by_its_tags() -> None:
    async with (
        upstream(http(b'{"models": [{"name": "llama3:8b"}]}')) as url,
        OllamaEngine(url, 2.0) as engine,
    ):
        [model] = await engine.models()
        assert (model.name, model.engine) == ("llama3:8b", "ollama")


@pytest.mark.parametrize(
    "reply", [http(b"oops", "500 Server Error"), http(b"<html>"), http(b'{"data": 3}'), b"garbage", b""]
)
async def test_an_engine_that_answers_nonsense_is_unavailable(reply: bytes) -> None:
    wanted = Upstream("lmstudio", "", "Start it.")
    async with upstream(reply) as url:
        async with OpenAIEngine(Upstream(wanted.name, url, wanted.how_to_start, probe_timeout_s=2)) as engine:
            with pytest.raises(EngineUnavailable, match="Start it"):
                await engine.models()


async def test_an_engine_that_is_down_says_how_to_start_it_and_is_left_out_of_the_list(
    tmp_path: Path,
) -> None:
    ollama = OllamaEngine("http://127.0.0.1:9", 0.5)
    async with ModelRegistry([ollama, LlamaCppEngine(LlamaCppSettings(), tmp_path)]) as registry:
        with pytest.raises(EngineUnavailable, match="ollama serve"):
            await ollama.models()
        assert await registry.names() == ["nano"]
        assert (await registry.default()).demo


async def test_a_found_engine_is_the_default_instead_of_the_demo_and_shared_names_are_told_apart(
    tmp_path: Path,
) -> None:
    async with upstream(http(b'{"data": [{"id": "text-embed-x"}, {"id": "nano"}, {"id": "qwen"}]}')) as url:
        studio = OpenAIEngine(Upstream("lmstudio", url, "", probe_timeout_s=2))
        async with ModelRegistry([studio, LlamaCppEngine(LlamaCppSettings(), tmp_path)]) as registry:
            assert await registry.names() == ["text-embed-x", "lmstudio/nano", "qwen", "llamacpp/nano"]
            assert (await registry.default()).name == "nano"
            engine, _ = await registry.resolve("llamacpp/nano")
            assert engine.name == "llamacpp"
            with pytest.raises(ModelNotFound):
                await registry.resolve("nano")


async def test_a_gguf_of_the_user_is_the_default_instead_of_the_demo(tmp_path: Path) -> None:
    shutil.copy(NANO, tmp_path / "mine.gguf")
    async with ModelRegistry([LlamaCppEngine(LlamaCppSettings(), tmp_path)]) as registry:
        assert (await registry.default()).name == "mine"


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (http(b'{"error": {"message": "no such tool"}}', "400 Bad Request"), UpstreamError, "no such tool"),
        (http(b"boom", "500 Server Error"), UpstreamError, "500"),
        (
            http(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', extra=99),
            EngineUnavailable,
            "broke off",
        ),
        (b"", EngineUnavailable, "broke off"),
    ],
)
async def test_an_upstreams_failure_is_told_clearly(
    chat: ChatClient, reply: bytes, error: type[Exception], said: str
) -> None:
    async with upstream(reply) as url:
        with pytest.raises(error, match=said):
            await answer(chat, Lease(url, "m"))
