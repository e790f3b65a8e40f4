"""What every engine must do: the embedded one, an upstream that is a real llama.cpp, and an Ollama by script."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from lm_sandbox.config.models import LlamaCppSettings
from lm_sandbox.errors import (
    EngineUnavailable,
    Invalid,
    ModelNotFound,
    NotFound,
    Unsupported,
    UpstreamError,
)
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.engine import Engine, ModelState, PullProgress
from lm_sandbox.models.engines.llamacpp import LlamaCppEngine
from lm_sandbox.models.engines.ollama import OllamaEngine
from lm_sandbox.models.engines.openai import OpenAIEngine
from lm_sandbox.models.engines.openai import Upstream as Place
from lm_sandbox.models.registry import ModelRegistry
from tests.conftest import command_environment, serving
from tests.models.upstream import ollama, scripted

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Case:
    """An engine that runs, and what is known not to hold of it."""

    engine: Engine
    model: str
    gaps: frozenset[str] = field(default=frozenset())


@asynccontextmanager
async def embedded(tmp_path: Path) -> AsyncIterator[Case]:
    async with LlamaCppEngine(LlamaCppSettings(), tmp_path) as engine:
        yield Case(engine, "nano")


@asynccontextmanager
async def upstream(tmp_path: Path) -> AsyncIterator[Case]:
    async with AsyncExitStack() as exits:
        inner = await exits.enter_async_context(LlamaCppEngine(LlamaCppSettings(), tmp_path))
        lease = await exits.enter_async_context(inner.acquire("nano"))
        key = lease.headers["Authorization"].removeprefix("Bearer ")
        place = Place("llama-server", lease.base_url, "Start it.", api_key=SecretStr(key), probe_timeout_s=10)
        engine = await exits.enter_async_context(OpenAIEngine(place))
        # A llama-server takes every name for the one model that it has.
        yield Case(engine, "nano", frozenset({"unknown models"}))


@asynccontextmanager
async def by_script(tmp_path: Path) -> AsyncIterator[Case]:
    del tmp_path
    async with scripted(ollama("nano:latest")) as found, OllamaEngine(found.url, 10) as engine:
        # The script answers every name.
        yield Case(engine, "nano:latest", frozenset({"unknown models"}))


@asynccontextmanager
async def by_our_own_surface(tmp_path: Path) -> AsyncIterator[Case]:
    """No Ollama can be had everywhere; what this server serves as one is the next best."""
    with serving(command_environment(tmp_path)) as (_, server):
        async with OllamaEngine(server.url, 10, SecretStr(server.key)) as engine:
            yield Case(engine, "nano:latest")


@pytest.fixture(
    params=[embedded, upstream, by_script, by_our_own_surface],
    ids=["llamacpp", "openai", "ollama", "ollama-surface"],
)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with request.param(tmp_path) as made:
        yield made


@pytest.fixture
async def chat() -> AsyncIterator[ChatClient]:
    async with ChatClient() as client:
        yield client


async def test_it_lists_its_models_under_its_name(case: Case) -> None:
    listed = await case.engine.models()
    assert case.model in {model.name for model in listed}
    assert {model.engine for model in listed} == {case.engine.name}
    assert all(model.state in {ModelState.AVAILABLE, ModelState.LOADED} for model in listed)


async def test_a_lease_answers_and_tells_what_it_took(case: Case, chat: ChatClient) -> None:
    async with case.engine.acquire(case.model) as lease:
        deltas = [delta async for delta in chat.stream_chat(lease, [ChatMessage("user", "hello")])]
    assert "".join(delta.content for delta in deltas)
    assert deltas[-1].finish_reason in {"stop", "length", "tool_calls"}
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.completion_tokens > 0


async def test_a_lease_never_shows_its_key(case: Case) -> None:
    async with case.engine.acquire(case.model) as lease:
        for value in lease.headers.values():
            assert value not in repr(lease)
            assert value not in repr(case.engine)


async def test_many_leases_at_once_are_served(case: Case, chat: ChatClient) -> None:
    answers: list[str] = []

    async def ask(caller: str) -> None:
        async with case.engine.acquire(case.model, caller) as lease:
            stream = chat.stream_chat(lease, [ChatMessage("user", "hello")])
            answers.append("".join([delta.content async for delta in stream]))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(ask, str(number % 3))
    assert len(answers) == 8
    assert all(answers)


async def test_a_request_is_forwarded_byte_for_byte(case: Case, chat: ChatClient) -> None:
    body = (
        b'{"model": "%s", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
        % case.model.encode()
    )
    async with (
        case.engine.acquire(case.model) as lease,
        chat.forward(lease, "/v1/chat/completions", body) as answer,
    ):
        text = b"".join([piece async for piece in answer.pieces])
    assert answer.status == 200
    assert text.startswith(b"data: ")
    assert text.endswith(b"data: [DONE]\n\n")


async def test_a_model_that_it_has_not_is_refused(case: Case, chat: ChatClient) -> None:
    if "unknown models" in case.gaps:
        pytest.xfail("it takes every name for the one model that it has")
    with pytest.raises((ModelNotFound, UpstreamError)):
        async with case.engine.acquire("no-such-model") as lease:
            await anext(chat.stream_chat(lease, [ChatMessage("user", "hi")]))


async def test_unloading_is_idempotent(case: Case) -> None:
    for _ in range(2):
        await case.engine.unload(case.model)
    await case.engine.unload("never-loaded")
    assert ModelState.LOADED not in {model.state for model in await case.engine.models()}


async def test_a_model_is_loaded_ahead_or_it_says_that_it_cannot(case: Case) -> None:
    with suppress(Unsupported):
        await case.engine.load(case.model, 60)
    assert case.model in {model.name for model in await case.engine.models()}


async def test_it_shows_its_model(case: Case) -> None:
    detail = await case.engine.show(case.model)
    assert detail.model.name == case.model
    assert detail.problem == ""
    assert all(isinstance(value, str) for value in detail.facts.values())


async def test_pulling_works_or_fails_by_name(case: Case) -> None:
    steps: list[PullProgress] = []

    async def tell(step: PullProgress) -> None:
        steps.append(step)

    with suppress(Invalid, Unsupported, UpstreamError):
        await case.engine.pull("no source at all", tell)
        assert steps[-1].status == "success"


async def test_removing_works_or_fails_by_name(case: Case) -> None:
    with suppress(NotFound, Unsupported):
        await case.engine.remove("never-was")
    assert case.model in {model.name for model in await case.engine.models()}


async def test_leaving_it_ends_what_it_began(tmp_path: Path) -> None:
    async with embedded(tmp_path) as case, case.engine.acquire(case.model) as lease:
        address = lease.base_url
    host, port = address.removeprefix("http://").split(":")
    with pytest.raises(OSError, match="failed|refused"):
        await anyio.connect_tcp(host, int(port))


@pytest.mark.parametrize("kind", [OllamaEngine, OpenAIEngine])
async def test_one_that_is_down_says_how_to_start_it_and_when_to_come_back(kind: type[Engine]) -> None:
    nowhere = "http://127.0.0.1:9"
    engine = (
        OllamaEngine(nowhere, 1)
        if kind is OllamaEngine
        else OpenAIEngine(Place("vllm", nowhere, "Start it."))
    )
    async with engine:
        with pytest.raises(EngineUnavailable, match="[Ss]tart it") as refusal:
            await engine.models()
    assert refusal.value.retry_after_s
    assert nowhere not in refusal.value.message


async def test_in_a_registry_each_is_found_by_its_own_name(case: Case) -> None:
    registry = ModelRegistry([case.engine])
    engine, model = await registry.resolve(f"{case.engine.name}/{case.model}")
    assert (engine, model.name) == (case.engine, case.model)
