"""Engines that run on their own: what they fail at, how that is told, and how they come back."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from pydantic import SecretStr, ValidationError

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.models import EngineSettings, LlamaCppSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import EngineUnavailable, Invalid, ModelNotFound, NoCapacity, UpstreamError
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.engine import Engine, Lease, ModelState, PullProgress
from lm_sandbox.models.engines.llamacpp import LlamaCppEngine
from lm_sandbox.models.engines.ollama import OllamaEngine
from lm_sandbox.models.engines.openai import OpenAIEngine
from lm_sandbox.models.engines.openai import Upstream as Place
from lm_sandbox.models.engines.upstreams import upstream_of
from lm_sandbox.models.registry import ModelRegistry
from tests.conftest import KEY, NOWHERE
from tests.models.test_engines import Clock, answer
from tests.models.upstream import Script, Upstream, events, ollama, reply, said, scripted, silent, streamed

pytestmark = pytest.mark.anyio
CHAT = "POST /v1/chat/completions"
LISTING = reply({"object": "list", "data": [{"id": "qwen", "max_model_len": 4096}]})
SECRET = "sk-very-secret"


@pytest.fixture
async def chat() -> AsyncIterator[ChatClient]:
    async with ChatClient() as client:
        yield client


def place(url: str, name: str = "vllm") -> Place:
    return Place(name, url, "Start it.", api_key=SecretStr(SECRET), probe_timeout_s=5)


async def test_a_configured_engine_is_listed_and_gets_its_key() -> None:
    async with scripted({"GET /v1/models": LISTING}) as upstream, OpenAIEngine(place(upstream.url)) as engine:
        [model] = await engine.models()
        assert (model.name, model.context_tokens) == ("qwen", 4096)
        assert upstream.asked[0][1]["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in repr(place(upstream.url))


async def test_the_key_comes_from_a_file_and_the_address_may_end_in_v1(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    settings = EngineSettings(base_url="http://host:1/v1/", api_key_file=tmp_path / "key")
    found = upstream_of("vllm", settings)
    assert found.base_url == "http://host:1"
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == SECRET
    with pytest.raises(Invalid, match="cannot be read") as refusal:
        upstream_of("vllm", EngineSettings(base_url="http://h", api_key_file=tmp_path / "none"))
    assert str(tmp_path) not in refusal.value.message
    with pytest.raises(Invalid, match="there is one"):
        upstream_of("ollama", EngineSettings(base_url="http://h"))


@pytest.mark.parametrize(
    "engines",
    [
        {"UP": {"base_url": "http://h"}},
        {"a/b": {"base_url": "http://h"}},
        {"a": {"base_url": "ftp://h"}},
        {"a": {}},
    ],
)
def test_settings_of_an_engine_that_make_no_sense_are_refused(engines: object, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"data_dir": tmp_path, "engines": engines})


async def test_an_engine_that_is_down_is_asked_again_later_and_later() -> None:
    clock = Clock()
    answers: dict[str, bytes | Script] = {"GET /v1/models": reply(b"no", "500 Server Error")}
    async with scripted(answers) as upstream, OpenAIEngine(place(upstream.url), clock=clock) as engine:
        for asked, wait_s in ((1, 1), (2, 2), (3, 4), (4, 8)):
            with pytest.raises(EngineUnavailable) as refusal:
                await engine.models()
            assert refusal.value.retry_after_s == wait_s
            clock.now += wait_s - 0.5
            with pytest.raises(EngineUnavailable):
                await engine.models()
            assert len(upstream.asked) == asked
            clock.now += 0.5
        upstream.answers["GET /v1/models"] = LISTING
        assert await engine.models()
        upstream.answers["GET /v1/models"] = reply(b"no", "500 Server Error")
        with pytest.raises(EngineUnavailable) as again:
            await engine.models()
        assert again.value.retry_after_s == 1


async def test_models_of_an_engine_that_went_down_stay_listed_and_are_unavailable_by_name(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with scripted({"GET /v1/models": LISTING}) as upstream:
        engines: list[Engine] = [
            OpenAIEngine(place(upstream.url), clock=clock),
            LlamaCppEngine(LlamaCppSettings(), tmp_path),
        ]
        async with ModelRegistry(engines, clock=clock) as registry:
            assert (await registry.default()).name == "qwen"
            upstream.answers["GET /v1/models"] = reply(b"", "503 Service Unavailable")
            [qwen, _] = await registry.models()
            assert (qwen.name, qwen.state) == ("qwen", ModelState.UNREACHABLE)
            assert "Start it" in qwen.reason
            with pytest.raises(EngineUnavailable, match="Start it"):
                await registry.resolve("qwen")
            assert (await registry.default()).name == "nano"
            [down, up] = await registry.engines()
            assert (bool(down.problem), len(down.models), up.problem) == (True, 1, "")
            upstream.answers["GET /v1/models"] = LISTING
            clock.now = 100
            assert (await registry.resolve("qwen"))[1].state is ModelState.AVAILABLE


async def test_a_name_that_was_just_listed_is_not_looked_up_again() -> None:
    clock = Clock()
    async with scripted({"GET /v1/models": LISTING}) as upstream:
        async with ModelRegistry([OpenAIEngine(place(upstream.url), clock=clock)], clock=clock) as registry:
            for _ in range(5):
                await registry.resolve("qwen")
            assert len(upstream.asked) == 1
            with pytest.raises(ModelNotFound):
                await registry.resolve("another")
            clock.now = 2
            await registry.resolve("qwen")
            assert len(upstream.asked) == 3


FAULTS: dict[str, tuple[bytes | Script, str]] = {
    "500 with its words": (reply({"error": {"message": "out of memory"}}, "500 Oops"), "500: out of memory"),
    "500 without": (reply(b"<html>", "500 Oops", "text/html"), "500: no message"),
    "its words as a text": (reply({"error": "no such tool"}, "400 Bad Request"), "no such tool"),
    "another type": (reply(b"<html>hello</html>", kind="text/html"), "text/html"),
    "garbage": (b"\x00\x01garbage\r\n\r\n", "broke off"),
    "nothing": (b"", "broke off"),
    "cut": (reply(events(said("a")), kind="text/event-stream", missing=99), "broke off"),
    "ends too early": (reply(events(said("a")), kind="text/event-stream"), "broke off"),
    "an error in the stream": (
        reply(events(said("a"), {"error": {"message": "slot lost"}}), kind="text/event-stream"),
        "slot lost",
    ),
    "silent": (silent, "said nothing for 0.2 s"),
    "refuses our key": (
        reply({"error": {"message": f"bad key {SECRET}"}}, "401 Unauthorized"),
        "refuses the key",
    ),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_a_fault_is_told_in_the_engines_words_and_without_secrets(chat: ChatClient, name: str) -> None:
    script, said_of_it = FAULTS[name]
    async with scripted({CHAT: script}) as upstream:
        lease = Lease(upstream.url, "qwen", {"Authorization": f"Bearer {SECRET}"}, silent_s=0.2)
        with pytest.raises((UpstreamError, EngineUnavailable), match=said_of_it) as failure:
            await answer(chat, lease)
    assert SECRET not in str(failure.value)
    assert "127.0.0.1" not in str(failure.value)


async def test_an_engine_that_refuses_the_connection_is_unavailable(chat: ChatClient) -> None:
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await answer(chat, Lease(NOWHERE, "qwen"))


@pytest.fixture
async def through(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Upstream]]:
    """The whole server in front of a scripted engine."""
    async with scripted({"GET /v1/models": LISTING, CHAT: streamed()}) as upstream:
        engine = EngineSettings(base_url=upstream.url, api_key=SecretStr(SECRET), timeout_s=0.3)
        settings = settings.model_copy(update={"engines": {"vllm": engine}})
        app = create_app(settings)
        async with start_services(settings) as services:
            app.state.services = services
            # Unlike the tests' own, this transport lets an error within an answer break it off.
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test", headers=headers
            ) as client:
                yield client, upstream


BODY = {"model": "qwen", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (reply({"error": {"message": "out of memory"}}, "500 Oops"), 502, "out of memory"),
        (reply(b"<html>", "502 Bad Gateway", "text/html"), 502, "502"),
        (reply(b"<html>hello</html>", kind="text/html"), 502, "text/html"),
        (reply({"error": {"message": "the key"}}, "401 Unauthorized"), 502, "refuses the key"),
        (reply({"error": {"message": "too long: 9 of 8"}}, "400 Bad Request"), 400, "too long: 9 of 8"),
        (reply({"error": {"message": "slow down"}}, "429 Too Many Requests"), 429, "slow down"),
        (reply(b"slow down", "429 Too Many Requests", "text/plain"), 429, "no message"),
        (b"garbage", 503, "broke off"),
        (b"", 503, "broke off"),
        (silent, 503, "said nothing"),
    ],
)
async def test_a_fault_becomes_an_answer_in_openais_shape(
    through: tuple[httpx.AsyncClient, Upstream], script: bytes | Script, status: int, words: str
) -> None:
    client, upstream = through
    upstream.answers[CHAT] = script
    told = await client.post("/v1/chat/completions", json=BODY)
    assert (told.status_code, words in told.json()["error"]["message"]) == (status, True), told.text
    assert SECRET not in told.text


async def test_what_an_engine_repeats_of_our_secrets_is_taken_out(
    through: tuple[httpx.AsyncClient, Upstream],
) -> None:
    client, upstream = through
    words = {"error": {"message": f"no route at {upstream.url}/v1 for {SECRET}", "code": 7}}
    upstream.answers[CHAT] = reply(words, "404 Not Found")
    told = await client.post("/v1/chat/completions", json=BODY)
    assert told.status_code == 404
    assert told.json()["error"] == {"message": "no route at ***/v1 for ***", "code": 7}


async def test_a_stream_that_is_cut_ends_with_an_error_event(
    through: tuple[httpx.AsyncClient, Upstream],
) -> None:
    client, upstream = through
    upstream.answers[CHAT] = reply(events(said("a")), kind="text/event-stream", missing=99)
    told = await client.post("/v1/chat/completions", json=BODY | {"stream": True})
    *_, last = told.text.strip().split("\n\n")
    assert told.status_code == 200
    assert "broke off" in json.loads(last.removeprefix("data: "))["error"]["message"]


async def test_a_good_answer_comes_through_untouched(through: tuple[httpx.AsyncClient, Upstream]) -> None:
    client, upstream = through
    told = await client.post("/v1/chat/completions", json=BODY | {"stream": True})
    assert told.content == streamed().partition(b"\r\n\r\n")[2]
    _, headers, body = upstream.asked[-1]
    assert (headers["authorization"], headers["accept-encoding"]) == (f"Bearer {SECRET}", "identity")
    assert json.loads(body) == BODY | {"stream": True}


@pytest.fixture
async def found() -> AsyncIterator[tuple[OllamaEngine, Upstream]]:
    async with scripted(ollama("llama3:8b", "qwen")) as upstream, OllamaEngine(upstream.url, 5) as engine:
        yield engine, upstream


async def test_ollamas_models_tell_size_and_whether_they_are_loaded(
    found: tuple[OllamaEngine, Upstream],
) -> None:
    engine, upstream = found
    upstream.answers["GET /api/ps"] = reply({"models": [{"name": "qwen", "size_vram": 1}]})
    assert [(m.name, m.state, m.size_bytes) for m in await engine.models()] == [
        ("llama3:8b", ModelState.AVAILABLE, 4_661_224_676),
        ("qwen", ModelState.LOADED, 4_661_224_676),
    ]


async def test_ollama_shows_loads_keeps_unloads_and_removes(found: tuple[OllamaEngine, Upstream]) -> None:
    engine, upstream = found
    detail = await engine.show("qwen")
    assert detail.model.name == "qwen"
    assert detail.facts["trained context"] == "8192"
    assert detail.facts["capabilities"] == "completion, tools"
    await engine.load("qwen", 60)
    await engine.load("qwen", float("inf"))
    await engine.load("qwen")
    await engine.unload("qwen")
    await engine.remove("qwen")
    kept = [
        body.get("keep_alive") for body in upstream.bodies("POST /api/generate") if isinstance(body, dict)
    ]
    assert kept == [60, -1, None, 0]
    assert upstream.bodies("DELETE /api/delete") == [{"model": "qwen"}]


async def test_ollama_pulls_and_tells_how_far_it_is(found: tuple[OllamaEngine, Upstream]) -> None:
    engine, _ = found
    steps: list[PullProgress] = []

    async def tell(step: PullProgress) -> None:
        steps.append(step)

    await engine.pull("qwen", tell)
    assert PullProgress("pulling 6a0746a1ec1a", 40, 100) in steps
    assert steps[-1].status == "success"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            reply(b'{"status": "pulling manifest"}\n{"error": "pull model manifest: file does not exist"}\n'),
            "does not exist",
        ),
        (reply({"error": "invalid model name"}, "400 Bad Request"), "invalid model name"),
        (reply(b'{"status": "pulling manifest"}\n'), "does not answer"),
        (reply(b'{"status": "pulling manifest"}\n', missing=9), "does not answer"),
        (reply(b"<html>\n"), "makes no sense"),
    ],
)
async def test_a_pull_that_ollama_cannot_do_is_told_in_its_words(
    found: tuple[OllamaEngine, Upstream], script: bytes, words: str
) -> None:
    engine, upstream = found
    upstream.answers["POST /api/pull"] = script

    async def tell(step: PullProgress) -> None:
        assert step.status

    with pytest.raises((UpstreamError, EngineUnavailable), match=words):
        await engine.pull("qwen", tell)


async def test_a_model_that_ollama_has_not_is_not_found(found: tuple[OllamaEngine, Upstream]) -> None:
    engine, upstream = found
    upstream.answers["POST /api/show"] = reply({"error": "model 'x' not found"}, "404 Not Found")
    with pytest.raises(ModelNotFound, match="llama3:8b, qwen"):
        await engine.show("x")
    upstream.answers["POST /api/generate"] = reply({"error": "llama runner terminated"}, "500 Server Error")
    with pytest.raises(UpstreamError, match="runner terminated"):
        await engine.load("qwen")


async def test_an_old_ollama_without_ps_still_lists(found: tuple[OllamaEngine, Upstream]) -> None:
    engine, upstream = found
    upstream.answers["GET /api/ps"] = reply(b"", "404 Not Found")
    assert len(await engine.models()) == 2


async def test_callers_take_turns_at_an_engine_that_gets_so_many_requests_at_once() -> None:
    engine = OpenAIEngine(Place("vllm", "http://127.0.0.1:1", "Start it.", at_once=1, waiting=3))
    served: list[str] = []
    waiting: list[anyio.Event] = []

    async def ask(caller: str) -> None:
        async with engine.acquire("m", caller):
            served.append(caller)
            waiting.append(anyio.Event())
            await waiting[-1].wait()

    async with anyio.create_task_group() as tasks:
        for caller in ("busy", "busy", "busy", "other"):
            tasks.start_soon(ask, caller)
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(NoCapacity, match="3 requests wait for vllm"):
            async with engine.acquire("m", "late"):
                pass
        for number in range(4):
            waiting[number].set()
            await anyio.wait_all_tasks_blocked()
    assert served == ["busy", "busy", "other", "busy"]


async def test_an_engine_whose_settings_name_no_number_gets_as_many_as_come() -> None:
    free, bound = (
        OpenAIEngine(upstream_of("vllm", EngineSettings(base_url="http://h", parallel=parallel)))
        for parallel in (None, 2)
    )
    async with AsyncExitStack() as exits:
        for _ in range(500):
            await exits.enter_async_context(free.acquire("m"))
        for _ in range(2):
            await exits.enter_async_context(bound.acquire("m"))
        with anyio.move_on_after(0.05) as waited:
            await exits.enter_async_context(bound.acquire("m"))
        assert waited.cancelled_caught
