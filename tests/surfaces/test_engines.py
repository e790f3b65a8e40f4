"""/v1/engines and /v1/hardware, with the real llama.cpp behind."""

import json
from contextlib import AsyncExitStack
from functools import partial

import anyio
import httpx
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.cli.test_command_line import call
from tests.conftest import KEY, Server

pytestmark = pytest.mark.anyio
NANO = "/v1/engines/llamacpp/models/nano"


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in text.strip().split("\n\n"):
        kind, _, data = block.partition("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_engines_that_are_down_are_listed_with_what_to_do(client: httpx.AsyncClient) -> None:
    rows = {row["name"]: row for row in (await client.get("/v1/engines")).json()["data"]}
    assert list(rows) == ["ollama", "lmstudio", "llamacpp"]
    assert (rows["ollama"]["up"], rows["ollama"]["models"]) == (False, [])
    assert "ollama serve" in rows["ollama"]["problem"]
    assert rows["llamacpp"]["up"]
    assert rows["llamacpp"]["models"][0]["name"] == "nano"


async def test_a_model_is_shown_with_its_plan_loaded_and_unloaded(client: httpx.AsyncClient) -> None:
    shown = (await client.get(NANO)).json()
    assert (shown["state"], shown["facts"]["architecture"]) == ("available", "llama")
    plan = shown["plan"]
    assert plan["layers"] == sum(device["layers"] for device in plan["devices"])
    for device in plan["devices"]:
        parts = device["weights_bytes"] + device["cache_bytes"] + device["buffer_bytes"]
        assert parts == device["total_bytes"] <= device["room_bytes"]
    assert (
        await client.post("/v1/engines/llamacpp/load", json={"model": "nano", "keep_alive_s": -1})
    ).status_code == 204
    assert (await client.get(NANO)).json()["state"] == "loaded"
    assert (await client.post("/v1/engines/llamacpp/unload", json={"model": "nano"})).status_code == 204
    assert (await client.get(NANO)).json()["state"] == "available"


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    for path, code in ((NANO + "-not", "model_not_found"), ("/v1/engines/none/models/nano", "not_found")):
        told = await client.get(path)
        assert (told.status_code, told.json()["code"]) == (404, code)
    down = await client.get("/v1/engines/ollama/models/library/x:8b")
    assert (down.status_code, down.json()["code"]) == (503, "engine_unavailable")
    assert down.headers["retry-after"]


async def test_a_pull_tells_how_it_ended(client: httpx.AsyncClient) -> None:
    told = await client.post("/v1/engines/llamacpp/pull", json={"source": "not a source"})
    [(kind, error)] = events(told.text)
    assert (kind, error["code"]) == ("error", "invalid_request")
    [(kind, error)] = events((await client.post("/v1/engines/lmstudio/pull", json={"source": "x"})).text)
    assert (kind, error["code"]) == ("error", "unsupported")


async def test_the_bundled_model_is_not_removed(client: httpx.AsyncClient) -> None:
    told = await client.delete(NANO)
    assert (told.status_code, told.json()["code"]) == (409, "unsupported")


async def test_the_hardware_is_told(client: httpx.AsyncClient) -> None:
    seen = (await client.get("/v1/hardware")).json()
    assert 1 <= seen["cores"] <= seen["threads"]
    assert 0 < seen["available_bytes"] <= seen["memory_bytes"]
    assert seen["gpus"] or seen["gpu_note"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/engines/llamacpp/load", {"model": "nano"}),
        ("POST", "/v1/engines/llamacpp/unload", {"model": "nano"}),
        ("POST", "/v1/engines/llamacpp/pull", {"source": "hf:a/b"}),
        ("DELETE", NANO, None),
    ],
)
async def test_only_an_admin_changes_what_is_loaded_and_kept(
    client: httpx.AsyncClient, services: Services, method: str, path: str, body: object
) -> None:
    key = await services.keys.issue("reader", frozenset({Scope.MODELS}))
    headers = {"Authorization": f"Bearer {key.token}"}
    told = await client.request(method, path, json=body, headers=headers)
    assert (told.status_code, told.json()["code"]) == (403, "forbidden")
    assert (await client.get(NANO, headers=headers)).status_code == 200


@pytest.mark.parametrize("keep", [-2, "x"])
async def test_nonsense_is_refused_by_name(client: httpx.AsyncClient, keep: object) -> None:
    told = await client.post("/v1/engines/llamacpp/load", json={"model": "nano", "keep_alive_s": keep})
    assert (told.status_code, told.json()["field"]) == (422, "keep_alive_s")


async def test_a_model_that_too_many_wait_for_says_when_to_come_back(settings: Settings) -> None:
    llamacpp = settings.llamacpp.model_copy(update={"parallel": 1, "queue": 0})
    settings = settings.model_copy(update={"llamacpp": llamacpp})
    app = create_app(settings)
    body = {"model": "nano", "messages": [{"role": "user", "content": "hi"}]}
    async with start_services(settings) as services, AsyncExitStack() as held:
        app.state.services = services
        for _ in range(2):
            await held.enter_async_context(services.models.lease("nano"))
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://t", headers=headers
        ) as http:
            refused = await http.post("/v1/chat/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_capacity")
            assert int(refused.headers["retry-after"]) > 0
            await held.aclose()
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 200


async def test_a_client_that_leaves_the_queue_takes_no_turn(server: Server) -> None:
    """Closing the connection while waiting must not leave a request behind."""
    headers = {"Authorization": f"Bearer {server.key}"}
    long = {
        "model": "nano",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 3000,
        "ignore_eos": True,
    }
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(partial(http.post, "/v1/chat/completions", json=long))
            await http.get("/v1/engines")
            tasks.cancel_scope.cancel()
        told = await http.post("/v1/chat/completions", json=long | {"max_tokens": 4})
    assert told.status_code == 200


def test_the_command_line_shows_plans_loads_and_unloads(server: Server, command_env: dict[str, str]) -> None:
    assert server.url
    plan = json.loads(call(command_env, "models", "plan", "nano", "--json").stdout)
    assert plan["layers"] == 6
    table = call(command_env, "models", "plan", "nano").stdout
    for word in ("device", "weights", "cache", "MiB", "threads"):
        assert word in table
    assert "architecture" in call(command_env, "models", "show", "nano").stdout
    assert call(command_env, "models", "load", "nano", "--keep-alive", "-1").returncode == 0
    listed = json.loads(call(command_env, "models", "list", "--json").stdout)
    assert [(row["name"], row["state"]) for row in listed] == [("nano", "loaded")]
    assert call(command_env, "models", "unload", "llamacpp/nano").returncode == 0
    told = call(command_env, "models", "list").stdout
    assert "available" in told
    assert "ollama serve" in told
    missing = call(command_env, "models", "plan", "no-such")
    assert (missing.returncode, "no-such" in missing.stderr) == (1, True)
    assert "yourself" in call(command_env, "models", "remove", "nano").stderr
