"""The HTTP surfaces, through the app in process."""

import json
import re

import httpx
import pytest

from lm_sandbox.app import create_app
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from tests.conftest import KEY

pytestmark = pytest.mark.anyio

OPEN_PATHS = {
    "/",
    "/healthz",
    "/readyz",
    "/oauth/token",
    "/oauth/revoke",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
}


def routes(settings: Settings) -> list[tuple[str, str]]:
    paths = create_app(settings).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


async def test_every_route_but_health_needs_a_key(client: httpx.AsyncClient, settings: Settings) -> None:
    checked = 0
    for method, path in routes(settings):
        if path in OPEN_PATHS:
            continue
        concrete = re.sub(r"\{\w+\}", "x", path)
        for headers in (
            {"Authorization": ""},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic x"},
        ):
            answer = await client.request(method, concrete, headers=headers, json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].split()[0] == "Bearer"
            assert "key" in answer.text.lower()
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [(Scope.MODELS, "/v1/models", "/v1/sandboxes"), (Scope.SANDBOXES, "/v1/sandboxes", "/v1/models")],
)
async def test_a_key_reaches_its_own_scope_only(
    client: httpx.AsyncClient, services: Services, scope: Scope, allowed: str, refused: str
) -> None:
    issued = await services.keys.issue("narrow", frozenset({scope}))
    headers = {"Authorization": f"Bearer {issued.token}"}
    assert (await client.get(allowed, headers=headers)).status_code == 200
    answer = await client.get(refused, headers=headers)
    assert answer.status_code == 403
    assert "scope" in answer.text


async def test_the_key_is_also_taken_from_x_api_key(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models", headers={"Authorization": "", "x-api-key": KEY})
    assert answer.status_code == 200


async def test_health_and_docs_need_no_key(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert (await client.get(path, headers={"Authorization": ""})).status_code == 200


async def test_the_swagger_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs", headers={"Authorization": ""})
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 3
    for address in loaded:
        assert httpx.URL(address).host in {"", "test"}
        answer = await client.get(address, headers={"Authorization": ""})
        assert answer.status_code == 200
        assert answer.content


async def test_a_sandbox_is_made_used_listed_and_deleted(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={"name": "mine", "env": {"A": "b"}})).json()
    assert made["state"] == "running"
    assert made["enforced"]["host_uid"] != 0
    path = f"/v1/sandboxes/{made['id']}"
    ran = (await client.post(f"{path}/commands", json={"command": "echo $A; echo err >&2; exit 3"})).json()
    assert (ran["stdout"], ran["stderr"], ran["exit_code"], ran["signal"]) == ("b\n", "err\n", 3, None)
    listed = (await client.get("/v1/sandboxes")).json()
    assert [row["id"] for row in listed["data"]] == [made["id"]]
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 410
    assert (await client.delete("/v1/sandboxes/sb_none")).status_code == 404


async def test_another_keys_sandbox_does_not_exist(client: httpx.AsyncClient, services: Services) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    issued = await services.keys.issue("other", frozenset({Scope.SANDBOXES}))
    headers = {"Authorization": f"Bearer {issued.token}"}
    path = f"/v1/sandboxes/{made['id']}"
    assert (await client.get(path, headers=headers)).status_code == 404
    assert (await client.delete(path, headers=headers)).status_code == 404
    ran = await client.post(f"{path}/commands", json={"command": "id"}, headers=headers)
    assert ran.status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 422, "body"),
        ("[]", 422, "body"),
        ('{"comand": "ls"}', 422, "command"),
        ('{"command": "ls", "colour": 1}', 422, "colour"),
        ('{"command": ""}', 422, "command"),
        ('{"command": "a\\u0000b"}', 422, "command"),
        ('{"command": []}', 422, "command"),
        ('{"command": "ls", "cwd": "relative"}', 422, "cwd"),
        ('{"command": "ls", "timeout_s": 0}', 422, "timeout_s"),
        ('{"command": "ls", "timeout_s": 1e9}', 422, "timeout_s"),
        ('{"command": "ls", "env": {"A=B": "x"}}', 422, "env"),
        ('{"command": "\\ud800"}', 422, "command"),
    ],
)
async def test_bad_input_is_refused_by_the_name_of_its_field(
    client: httpx.AsyncClient, body: str, status: int, field: str
) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    answer = await client.post(f"/v1/sandboxes/{made['id']}/commands", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"].startswith(field)


async def test_a_command_over_the_size_limit_is_413(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    answer = await client.post(f"/v1/sandboxes/{made['id']}/commands", json={"command": "x" * 200_000})
    assert answer.status_code == 413
    assert "stdin" in answer.json()["detail"]


async def test_a_body_over_the_size_limit_is_413_declared_or_not(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    size = settings.max_body_bytes + 1
    declared = await client.post("/v1/sandboxes", content=b"x" * size)
    assert declared.status_code == 413
    undeclared = await client.post("/v1/sandboxes", content=b"x" * size, headers={"content-length": "1"})
    assert undeclared.status_code in {413, 422}


async def test_limits_asked_for_are_the_limits_told(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={"limits": {"pids": 33, "memory_mib": 100}})).json()
    assert made["enforced"]["limits"]["pids"].startswith("33 ")
    over = await client.post("/v1/sandboxes", json={"limits": {"memory_mib": 10_000_000}})
    assert over.status_code == 422
    assert over.json()["field"] == "limits.memory_mib"


async def test_an_unknown_path_or_method_is_a_problem_document(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/nowhere"), await client.put("/v1/sandboxes")):
        assert answer.status_code in {404, 405}
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_seed_routes_answer_as_they_always_did(client: httpx.AsyncClient) -> None:
    bash = await client.post("/run-bash/", json={"cmd": "whoami; echo x > kept; ls missing"})
    assert bash.json()["output"] == "sandbox\n"
    assert "missing" in bash.json()["error"]
    assert bash.json()["exit_code"] == 2
    assert (await client.post("/run-bash/", json={"cmd": "cat kept"})).json()["output"] == "x\n"
    for path in ("/llama-cpp/", "/query-model/"):
        said = (await client.post(path, json={"cmd": "hello"})).json()
        assert "nano" in said["output"]
        assert said["error"] == ""


async def test_ollama_that_does_not_run_is_a_503_that_says_how_to_start_it(client: httpx.AsyncClient) -> None:
    answer = await client.post("/ollama/", json={"cmd": "hello"})
    assert answer.status_code == 503
    assert "ollama serve" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


async def test_curls_default_content_type_is_read_as_json(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/run-bash/", content='{"cmd": "echo hi"}', headers=headers)
    assert answer.json()["output"] == "hi\n"


async def test_models_are_listed_each_also_with_a_shell(client: httpx.AsyncClient) -> None:
    rows = (await client.get("/v1/models")).json()["data"]
    assert [row["id"] for row in rows] == ["nano", "nano+bash"]
    assert rows[0]["demo"]
    assert rows[0]["default"]
    assert (await client.get("/v1/models/nano+bash")).json()["id"] == "nano+bash"


async def test_the_default_model_is_told_also_while_it_is_loaded(client: httpx.AsyncClient) -> None:
    assert (await client.post("/llama-cpp/", json={"cmd": "hello"})).status_code == 200
    rows = (await client.get("/v1/models")).json()["data"]
    assert [(row["state"], row["default"]) for row in rows] == [("loaded", True), ("loaded", False)]
    assert (await client.get("/v1/models/nano")).json()["default"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_an_unknown_model_is_a_404_with_those_that_exist(client: httpx.AsyncClient, path: str) -> None:
    body = {"model": "gpt-9+bash" if "chat" in path else "gpt-9", "messages": [{"role": "user", "content": "x"}],
            "input": "x"}  # fmt: skip
    answer = await client.post(path, json=body)
    assert answer.status_code == 404
    assert "nano" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
    ],
)
async def test_what_a_shell_model_cannot_honour_is_refused_by_name(
    client: httpx.AsyncClient, extra: dict[str, object], field: str
) -> None:
    body = {"model": "nano+bash", "messages": [{"role": "user", "content": "hi"}], **extra}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code in {400, 422}
    assert answer.json()["error"]["param"] == field


async def test_agents_unknown_tools_are_left_out_and_named(client: httpx.AsyncClient) -> None:
    body = {
        "model": "nano",
        "input": "hello",
        "tools": [{"type": "web_search"}, {"type": "shell"}],
        "novel": 1,
    }
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-lm-sandbox-tools-left-out"] == "web_search"


async def test_an_error_of_the_engine_comes_through_in_its_own_words(client: httpx.AsyncClient) -> None:
    body = {"model": "nano", "messages": [{"role": "user", "content": "hi"}], "max_tokens": "many"}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code in {400, 500}
    assert json.loads(answer.text)["error"]["message"]


async def test_several_conversations_at_once_have_sandboxes_of_their_own(client: httpx.AsyncClient) -> None:
    for number in range(2):
        body = {"model": "nano", "input": f"what is {number} + 1?", "tools": [{"type": "shell"}]}
        assert (await client.post("/v1/responses", json=body)).status_code == 200
        question = [{"role": "user", "content": f"what is {number} + 2?"}]
        chat = {"model": "nano+bash", "messages": question, "user": f"user-{number}"}
        assert (await client.post("/v1/chat/completions", json=chat)).status_code == 200
    listed = (await client.get("/v1/sandboxes")).json()["data"]
    assert len({row["id"] for row in listed}) == len(listed) >= 4
