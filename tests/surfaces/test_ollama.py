"""The official Ollama client against a real server with the real model and real sandboxes."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import ollama
import pytest
from pydantic import BaseModel, SecretStr

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.models.chat import ChatMessage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.engine import ModelState
from lm_sandbox.models.engines.ollama import OllamaEngine
from lm_sandbox.surfaces.deps import Services
from tests.conftest import KEY, Server, command_environment, serving
from tests.models.upstream import Upstream, reply, scripted
from tests.models.upstream import ollama as scripted_ollama

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PROMPT = "cat /proc/sys/kernel/random/boot_id"
NANO = Path(__file__).parents[2] / "src/lm_sandbox/models/bundled/nano.gguf"
BASH = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command with bash.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string"}},
            "required": ["command"],
        },
    },
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: it has a second model, which embeds."""
    env = command_environment(tmp_path_factory.mktemp("ollama"))
    models = {"tiny-embed": {"source": str(NANO), "purpose": "embedding"}}
    env["LM_SANDBOX_LLAMACPP__MODELS"] = json.dumps(models)
    with serving(env) as (_, server):
        yield server


@pytest.fixture(scope="module")
def client(shared: Server) -> Iterator[ollama.Client]:
    with ollama.Client(shared.url, headers={"Authorization": f"Bearer {shared.key}"}) as opened:
        yield opened


def test_a_chat_is_answered_with_counts_and_durations(client: ollama.Client) -> None:
    told = client.chat("nano", [{"role": "user", "content": "hello"}], options={"temperature": 0})
    assert "nano" in (told.message.content or "")
    assert (told.model, told.done, told.done_reason, told.message.role) == ("nano", True, "stop", "assistant")
    assert told.prompt_eval_count
    assert told.eval_count
    assert told.total_duration is not None
    parts = (told.load_duration, told.prompt_eval_duration, told.eval_duration)
    assert sum(part or 0 for part in parts) == told.total_duration
    assert told.created_at
    assert told.created_at.endswith("Z")


def test_a_chat_is_streamed_piece_by_piece(client: ollama.Client) -> None:
    chunks = list(client.chat("nano", [{"role": "user", "content": "hello"}], stream=True))
    assert len(chunks) > 3
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert "nano" in "".join(chunk.message.content or "" for chunk in chunks)
    assert chunks[-1].eval_count
    assert chunks[-1].message.content == ""


@pytest.mark.parametrize("name", ["nano:latest", "llamacpp/nano", "llamacpp/nano:latest"])
def test_a_name_may_have_the_tag_that_clients_add(client: ollama.Client, name: str) -> None:
    assert client.generate(name, "hello").response


def test_the_model_calls_a_tool_and_goes_on_from_its_result(client: ollama.Client) -> None:
    asked = [{"role": "user", "content": "Which linux is this?"}]
    options = {"temperature": 0}
    told = client.chat("nano", asked, tools=[BASH], options=options).message
    assert told.tool_calls
    [call] = told.tool_calls
    assert call.function.name == "bash"
    assert "os-release" in call.function.arguments["command"]
    result = {"role": "tool", "tool_name": "bash", "content": "Plan 9 from User Space"}
    answer = client.chat("nano", [*asked, told, result], tools=[BASH], options=options).message
    assert "Plan 9" in (answer.content or "")
    streamed = list(client.chat("nano", asked, tools=[BASH], options=options, stream=True))
    assert [chunk.message.tool_calls for chunk in streamed if chunk.message.tool_calls] == [told.tool_calls]


def test_a_model_with_a_shell_runs_the_loop(client: ollama.Client) -> None:
    text = client.chat("nano+bash:latest", [{"role": "user", "content": PROMPT}]).message.content or ""
    assert f"```bash\n{PROMPT}\n```\n```text\n{BOOT_ID}\n```" in text
    chunks = list(client.generate("nano+bash", PROMPT, stream=True))
    assert BOOT_ID in "".join(chunk.response or "" for chunk in chunks)
    assert chunks[-1].eval_count


def test_a_conversation_with_a_shell_keeps_its_files(client: ollama.Client) -> None:
    opening = {"role": "user", "content": "create an empty file called kept-by-ollama.txt"}
    said = client.chat("nano+bash", [opening]).message
    more = client.chat("nano+bash", [opening, said, {"role": "user", "content": "ls"}]).message
    assert "kept-by-ollama.txt" in (more.content or "").split("```text")[-1]


def test_the_form_of_the_answer_is_held(client: ollama.Client) -> None:
    class Counted(BaseModel):
        count: int

    schema = Counted.model_json_schema() | {"properties": {"count": {"type": "integer", "maximum": 9}}}
    asked = [{"role": "user", "content": "how many?"}]
    text = client.chat("nano", asked, format=schema, options={"num_predict": 200}).message.content or ""
    assert Counted.model_validate_json(text)
    free = client.generate("nano", "Which linux is this?", format="json", options={"temperature": 0})
    assert isinstance(json.loads(free.response or ""), dict)


def test_options_are_honoured(client: ollama.Client) -> None:
    short = client.generate("nano", "hello", options={"num_predict": 2, "num_ctx": 2048})
    assert (short.eval_count, short.done_reason) == (2, "length")
    full = client.generate("nano", "hello", options={"temperature": 0}).response or ""
    stopped = client.generate("nano", "hello", options={"temperature": 0, "stop": ["nano"]}).response
    assert stopped == full.partition("nano")[0]


def test_a_raw_prompt_gets_no_template(client: ollama.Client) -> None:
    told = client.generate("nano", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", raw=True)
    assert "nano" in (told.response or "")
    assert told.prompt_eval_count == client.generate("nano", "hello").prompt_eval_count


def test_models_are_listed_and_shown(client: ollama.Client) -> None:
    listed = {model.model: model for model in client.list().models}
    assert set(listed) == {"nano:latest", "nano+bash:latest", "tiny-embed:latest"}
    nano = listed["nano:latest"]
    assert nano.size == NANO.stat().st_size
    assert len(nano.digest or "") == 64
    assert nano.modified_at
    assert nano.details is not None
    assert (nano.details.format, nano.details.family, nano.details.parameter_size) == (
        "gguf",
        "llama",
        "2.6M",
    )
    shown = client.show("nano:latest")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 4096
    assert client.show("nano+bash").capabilities == ["completion"]
    assert client.show("tiny-embed").capabilities == ["embedding"]


def test_texts_are_embedded(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="embeddings"):
        client.embed("nano", "x")
    told = client.embed("tiny-embed", ["a file", "another file"])
    assert [len(vector) for vector in told.embeddings] == [192, 192]
    assert told.prompt_eval_count
    [short] = client.embed("tiny-embed", "a file", dimensions=8).embeddings
    assert len(short) == 8
    assert sum(number * number for number in short) == pytest.approx(1)
    assert list(client.embeddings("tiny-embed", "a file").embedding) == pytest.approx(
        list(told.embeddings[0]), abs=1e-5
    )


def test_loaded_models_tell_until_when_and_keep_alive_is_honoured(client: ollama.Client) -> None:
    def loaded() -> dict[str | None, ollama.ProcessResponse.Model]:
        return {model.model: model for model in client.ps().models}

    client.generate("tiny-embed", "", keep_alive=-1)
    kept = loaded()["tiny-embed:latest"]
    assert kept.expires_at is not None
    assert kept.expires_at.year == 2318
    assert kept.size
    assert kept.context_length == 4096
    client.embed("tiny-embed", "x", keep_alive="5m")
    seconds = loaded()["tiny-embed:latest"].expires_at
    assert seconds is not None
    assert seconds.year < 2318
    assert client.generate("tiny-embed", "", keep_alive=0).done_reason == "unload"
    assert "tiny-embed:latest" not in loaded()
    assert client.chat("tiny-embed", []).done_reason == "load"
    client.embed("tiny-embed", "x", keep_alive=0)
    assert "tiny-embed:latest" not in loaded()


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("chat", {"model": "nano", "messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ("chat", {"messages": []}, "model"),
        (
            "chat",
            {"model": "nano", "messages": [{"role": "user", "content": "x", "images": ["?"]}]},
            "Base64",
        ),
        ("chat", {"model": "nano", "messages": [{"role": "user", "images": ["iVBORw0KGgo="]}]}, "vision"),
        (
            "chat",
            {"model": "nano", "messages": [{"role": "user", "content": "x"}], "think": True},
            "thinking",
        ),
        ("chat", {"model": "nano", "messages": [{"role": "user", "content": "x"}], "format": "xml"}, "xml"),
        (
            "chat",
            {"model": "nano", "messages": [{"role": "user", "content": "x"}], "logprobs": True},
            "logprobs",
        ),
        (
            "chat",
            {"model": "nano+bash", "messages": [{"role": "user", "content": "x"}], "tools": [BASH]},
            "tools",
        ),
        ("chat", {"model": "nano", "messages": [{"role": "user"}], "tools": [{}]}, "tools.0"),
        ("chat", {"model": "nano", "messages": [{"role": "user"}], "tools": [{"function": {}}]}, "name"),
        ("generate", {"model": "nano", "prompt": "x", "options": {"mirostat": 9}}, "mirostat"),
        ("generate", {"model": "nano", "prompt": "x", "suffix": "y"}, "suffix"),
        ("generate", {"model": "nano", "prompt": "x", "template": "y"}, "template"),
        ("generate", {"model": "nano", "prompt": "x", "context": [1]}, "context"),
        ("generate", {"model": "nano", "prompt": "x", "raw": True, "system": "y"}, "system"),
        ("generate", {"model": "nano", "prompt": "x", "options": {"tfs_z": 0.5}}, "tfs_z"),
        ("generate", {"model": "nano", "prompt": "x", "options": {"seed": "y"}}, "options.seed"),
        ("generate", {"model": "nano", "prompt": "x", "keep_alive": "soon"}, "soon"),
        ("embed", {"model": "nano"}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    shared: Server, path: str, body: dict[str, object], words: str
) -> None:
    headers = {"Authorization": f"Bearer {shared.key}"}
    for stream in (True, False):
        told = httpx.post(f"{shared.url}/api/{path}", json={**body, "stream": stream}, headers=headers)
        assert told.status_code == 400
        assert list(told.json()) == ["error"]
        assert words in told.json()["error"]


def test_a_context_that_is_too_long_is_refused_with_both_numbers(client: ollama.Client) -> None:
    long = "hello " * 9000
    calls: list[Callable[[], object]] = [
        partial(client.generate, "nano", long, raw=True),
        lambda: list(client.generate("nano", long, raw=True, stream=True)),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError, match=r"\d{4,} tokens.* 4096") as refused:
            call()
        assert refused.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="4096"):
        client.embed("tiny-embed", long)


def test_the_openai_surface_understands_these_names_too(shared: Server) -> None:
    body = {"model": "nano+bash:latest", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Authorization": f"Bearer {shared.key}"}
    told = httpx.post(f"{shared.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert BOOT_ID in told.text


@pytest.mark.anyio
async def test_only_an_admin_says_how_long_a_model_stays(settings: Settings, services: Services) -> None:
    app = create_app(settings)
    app.state.services = services
    transport = httpx.ASGITransport(app)
    admin = {"Authorization": f"Bearer {KEY}"}
    http = httpx.AsyncClient(transport=transport, base_url="http://t", headers=admin)
    key = await services.keys.issue("reader", frozenset({Scope.MODELS}))
    headers = {"Authorization": f"Bearer {key.token}"}
    body = {"model": "nano", "prompt": "hello", "stream": False, "keep_alive": -1}
    told = await http.post("/api/generate", json=body, headers=headers)
    assert (told.status_code, told.headers["x-lm-sandbox-left-out"]) == (200, "keep_alive")
    [row] = (await http.get("/api/ps")).json()["models"]
    assert not row["expires_at"].startswith("2318")
    refused = [
        await http.request(method, f"/api/{path}", json=body | more, headers=headers)
        for method, path, more in (
            ("POST", "generate", {"prompt": "", "keep_alive": 0}),
            ("POST", "pull", {}),
            ("DELETE", "delete", {}),
        )
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    assert all(list(answer.json()) == ["error"] for answer in refused)


def test_unknown_models_and_wrong_keys_have_ollamas_shape(client: ollama.Client, shared: Server) -> None:
    with pytest.raises(ollama.ResponseError, match="no-such") as missing:
        list(client.chat("no-such", [{"role": "user", "content": "x"}], stream=True))
    assert missing.value.status_code == 404
    stranger = ollama.Client(shared.url, headers={"Authorization": "Bearer wrong"})
    with stranger, pytest.raises(ollama.ResponseError, match="key") as refused:
        stranger.list()
    assert refused.value.status_code == 401


def test_what_is_unknown_is_left_out_and_named(shared: Server) -> None:
    headers = {"Authorization": f"Bearer {shared.key}"}
    body = {"model": "nano", "prompt": "hi", "stream": False, "mystery": 1, "options": {"sparkle": 2}}
    told = httpx.post(f"{shared.url}/api/generate", json=body, headers=headers)
    assert told.status_code == 200
    assert told.headers["x-lm-sandbox-left-out"] == "mystery, options.sparkle"


def test_clients_find_that_there_is_an_ollama(shared: Server) -> None:
    assert httpx.get(shared.url).text == "Ollama is running"
    assert httpx.head(shared.url).status_code == 200
    headers = {"Authorization": f"Bearer {shared.key}"}
    version = httpx.get(f"{shared.url}/api/version", headers=headers).json()["version"]
    assert tuple(int(part) for part in version.split(".")) >= (0, 6, 4)
    assert httpx.get(f"{shared.url}/api/version").json()["error"]
    assert "no-such" in httpx.post(f"{shared.url}/api/no-such").json()["error"]


def test_what_makes_no_sense_here_says_what_to_do(client: ollama.Client) -> None:
    calls: list[Callable[[], object]] = [
        partial(client.create, "x", from_="nano", system="Be kind."),
        partial(client.create, "x"),
        partial(client.copy, "nano", "a/b"),
        partial(client.push, "nano"),
        partial(client.delete, "nano"),
        partial(client.pull, "no source"),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError) as refused:
            call()
        assert len(refused.value.error) > 20
    with pytest.raises(ollama.ResponseError, match="source"):
        list(client.pull("no source", stream=True))
    assert [step.status for step in client.pull("nano", stream=True)] == ["pulling manifest", "success"]


@pytest.mark.anyio
async def test_the_asynchronous_client_streams_too(shared: Server) -> None:
    async with ollama.AsyncClient(shared.url, headers={"x-api-key": shared.key}) as client:
        stream = await client.chat("nano", [{"role": "user", "content": "hello"}], stream=True)
        text = "".join([chunk.message.content or "" async for chunk in stream])
        assert "nano" in text


@pytest.mark.anyio
async def test_our_engine_for_ollama_uses_this_surface_as_one(shared: Server) -> None:
    async with OllamaEngine(shared.url, 10, SecretStr(shared.key)) as engine, ChatClient() as chat:
        listed = {model.name: model for model in await engine.models()}
        assert set(listed) == {"nano:latest", "nano+bash:latest", "tiny-embed:latest"}
        assert listed["nano:latest"].kind.parameters == "2.6M"
        await engine.load("nano:latest", 600)
        assert {m.name: m.state for m in await engine.models()}["nano:latest"] is ModelState.LOADED
        assert (await engine.show("nano:latest")).facts["capabilities"] == "completion, tools"
        for name in ("nano:latest", "nano+bash:latest"):
            async with engine.acquire(name, keep_alive_s=300) as lease:
                said = [d.content async for d in chat.stream_chat(lease, [ChatMessage("user", PROMPT)])]
            assert "".join(said)
        assert BOOT_ID in "".join(said)
        await engine.unload("nano:latest")
        assert {m.name: m.state for m in await engine.models()}["nano:latest"] is ModelState.AVAILABLE


@asynccontextmanager
async def beside_an_ollama(
    settings: Settings, chat: bytes
) -> AsyncIterator[tuple[httpx.AsyncClient, Upstream]]:
    async with scripted(scripted_ollama("llama3:8b") | {"POST /api/chat": chat}) as upstream:
        place = settings.upstream.model_copy(update={"ollama_url": upstream.url})
        settings = settings.model_copy(update={"upstream": place})
        app = create_app(settings)
        async with start_services(settings) as services:
            app.state.services = services
            headers = {"Authorization": f"Bearer {KEY}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as http:
                yield http, upstream


ASKED = {
    "model": "ollama/llama3:8b",
    "messages": [{"role": "user", "content": "x"}],
    "options": {"tfs_z": 0.5, "num_ctx": 4096},
    "logprobs": True,
    "keep_alive": "5m",
}


@pytest.mark.anyio
async def test_a_real_ollama_gets_the_request_as_it_is_but_may_cut_nothing(settings: Settings) -> None:
    lines = b'{"message": {"content": "a"}, "done": false}\n{"message": {"content": ""}, "done": true}\n'
    async with beside_an_ollama(settings, reply(lines, kind="application/x-ndjson")) as (http, upstream):
        told = await http.post("/api/chat", json=ASKED)
        assert (told.status_code, told.content) == (200, lines)
        assert upstream.bodies("POST /api/chat") == [ASKED | {"model": "llama3:8b", "truncate": False}]
        listed = (await http.get("/api/tags")).json()["models"]
        assert {"llama3:8b", "llama3:8b+bash"} <= {row["name"] for row in listed}
        shown = (await http.post("/api/show", json={"name": "llama3:8b"})).json()
        assert shown["capabilities"] == ["completion", "tools"]
        assert shown["model_info"]["llama.context_length"] == 8192
        pulled = await http.post("/api/pull", json={"model": "llama3:8b"})
        assert [json.loads(line)["status"] for line in pulled.text.splitlines()][-1] == "success"


@pytest.mark.anyio
async def test_what_a_real_ollama_refuses_keeps_its_status(settings: Settings) -> None:
    refusal = reply({"error": "input too long"}, "400 Bad Request")
    async with beside_an_ollama(settings, refusal) as (http, _):
        told = await http.post("/api/chat", json=ASKED)
        assert (told.status_code, list(told.json())) == (400, ["error"])
        assert "input too long" in told.json()["error"]
    cut = reply(b'{"message": {"content": "a"}, "done": false}\n', kind="application/x-ndjson", missing=9)
    async with beside_an_ollama(settings, cut) as (http, _):
        told = await http.post("/api/chat", json=ASKED)
        assert "broke off" in json.loads(told.text.splitlines()[-1])["error"]
