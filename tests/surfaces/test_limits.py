"""Limits and quotas over HTTP: by address before anything else, then by key."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from typing import Any

import anyio
import httpx
import pytest

from lm_sandbox.app import create_app, start_services
from lm_sandbox.config.access import LimitSettings, QuotaSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import QuotaReached, Unauthenticated
from lm_sandbox.identity.gate import Visit
from lm_sandbox.identity.keys import NewKey
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.quotas import Quotas
from lm_sandbox.identity.shares import STARTS_AT_ONCE
from lm_sandbox.surfaces.asgi import StreamingASGITransport
from lm_sandbox.surfaces.deps import Services
from tests.conftest import KEY

pytestmark = pytest.mark.anyio

EVERYTHING = frozenset(Scope) - {Scope.ADMIN}
POLICY = re.compile(r'"([a-z-]+)";q=(\d+);w=(\d+)')
LEFT = re.compile(r'"([a-z-]+)";r=(\d+);t=(\d+)')


@asynccontextmanager
async def app_with(
    settings: Settings, **changed: object
) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    settings = settings.model_copy(update=changed)
    app = create_app(settings)
    async with start_services(settings) as services, anyio.create_task_group() as tasks:
        app.state.services = services
        transport = StreamingASGITransport(app, tasks)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            yield http, services
        tasks.cancel_scope.cancel()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def told(answer: httpx.Response) -> tuple[str, int, int, int]:
    policy, left = (
        POLICY.fullmatch(answer.headers["ratelimit-policy"]),
        LEFT.fullmatch(answer.headers["ratelimit"]),
    )
    assert policy is not None
    assert left is not None
    assert policy[1] == left[1]
    assert 0 < int(left[3]) <= int(policy[3])
    return policy[1], int(policy[2]), int(left[2]), int(policy[3])


async def test_an_address_that_comes_too_often_is_refused_before_its_key_is_looked_at(
    settings: Settings,
) -> None:
    limits = LimitSettings(address_requests_per_minute=3)
    async with app_with(settings, limits=limits) as (http, _):
        for left in (2, 1, 0):
            answer = await http.get("/v1/models")
            assert answer.status_code == 401
            assert told(answer) == ("requests", 3, left, 60)
        refused = await http.get("/v1/models", headers=bearer(KEY))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert told(refused)[2] == 0
        # Who looks after the server still gets to know how it is.
        assert (await http.get("/healthz")).status_code == 200


async def test_wrong_keys_are_not_tried_without_end_and_then_no_key_is(settings: Settings) -> None:
    limits = LimitSettings(address_failures_per_minute=5)
    async with app_with(settings, limits=limits) as (http, services):
        for number in range(5):
            assert (await http.get("/v1/models", headers=bearer(f"guess-{number}"))).status_code == 401
        for headers in (bearer("guess-6"), bearer(KEY), {"x-api-key": KEY}):
            answer = await http.get("/v1/models", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
            assert int(answer.headers["retry-after"]) > 0
        # Another address is another matter, and so is one without any key.
        assert (await http.get("/v1/models")).status_code == 401
        assert (await services.gate.enter(Visit("198.51.100.7"), KEY)).name == "local"
        with pytest.raises(Unauthenticated):
            await services.gate.enter(Visit("198.51.100.7"), "guess-7")


async def test_a_key_that_calls_too_often_is_refused_and_others_are_not(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        busy = await services.keys.make(NewKey("busy", EVERYTHING, Quotas(requests_per_minute=3)))
        other = await services.keys.issue("other", EVERYTHING)
        for left in (2, 1, 0):
            answer = await http.get("/v1/sandboxes", headers=bearer(busy.token))
            assert answer.status_code == 200
            assert told(answer) == ("requests", 3, left, 60)
        refused = await http.get("/v1/sandboxes", headers=bearer(busy.token))
        assert (refused.status_code, told(refused)[2]) == (429, 0)
        answer = await http.get("/v1/sandboxes", headers=bearer(other.token))
        assert (answer.status_code, told(answer)[1]) == (200, 30_000)


async def test_a_request_is_counted_once_whatever_it_asks_for(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(requests_per_minute=9)))
        made = await http.post("/v1/sandboxes", json={}, headers=bearer(key.token))
        assert told(made)[2] == 8
        path = f"/v1/sandboxes/{made.json()['id']}/commands"
        ran = await http.post(path, json={"command": "true"}, headers=bearer(key.token))
        assert (ran.status_code, told(ran)[2]) == (200, 7)


async def test_sandboxes_at_once_are_counted_for_each_key(settings: Settings) -> None:
    async with app_with(settings, quotas=QuotaSettings(sandboxes=1)) as (http, services):
        one = bearer((await services.keys.issue("one", EVERYTHING)).token)
        made = await http.post("/v1/sandboxes", json={}, headers=one)
        refused = await http.post("/v1/containers", json={"name": "c"}, headers=one)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_reached")
        assert "retry-after" in refused.headers
        other = bearer((await services.keys.issue("other", EVERYTHING)).token)
        assert (await http.post("/v1/sandboxes", json={}, headers=other)).status_code == 201
        await http.delete(f"/v1/sandboxes/{made.json()['id']}", headers=one)
        assert (await http.post("/v1/sandboxes", json={}, headers=one)).status_code == 201


async def test_commands_at_once_are_counted_until_they_end(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(commands=1)))
        headers = bearer(key.token)
        made = (await http.post("/v1/sandboxes", json={}, headers=headers)).json()
        path = f"/v1/sandboxes/{made['id']}/commands"
        body: dict[str, Any] = {"command": "read x", "background": True, "keep_stdin_open": True}
        running = (await http.post(path, json=body, headers=headers)).json()["id"]
        refused = await http.post(path, json={"command": "true"}, headers=headers)
        assert refused.status_code == 429
        assert (await http.delete(f"{path}/{running}", headers=headers)).status_code == 204
        with anyio.fail_after(20):
            while (await http.post(path, json={"command": "true"}, headers=headers)).status_code == 429:
                await anyio.sleep(0.01)
        # One that cannot be started does not count for ever.
        for _ in range(2):
            bad = await http.post(path, json={"command": "x" * 200_000}, headers=headers)
            assert bad.status_code == 413


async def test_seconds_of_sandboxes_are_counted_and_then_nothing_more_runs(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(sandbox_seconds_per_day=60)))
        headers = bearer(key.token)
        made = (await http.post("/v1/sandboxes", json={}, headers=headers)).json()
        await services.shares.charge_seconds(key.id, 60)
        for answer in (
            await http.post("/v1/sandboxes", json={}, headers=headers),
            await http.post(
                f"/v1/sandboxes/{made['id']}/commands", json={"command": "true"}, headers=headers
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        # What is there can still be looked at and deleted.
        assert (await http.delete(f"/v1/sandboxes/{made['id']}", headers=headers)).status_code == 204


async def test_a_sandbox_that_lives_for_a_moment_counts_too(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(sandbox_seconds_per_day=2)))
        headers = bearer(key.token)
        for _ in range(2):
            made = await http.post("/v1/sandboxes", json={}, headers=headers)
            await http.delete(f"/v1/sandboxes/{made.json()['id']}", headers=headers)
        assert (await http.post("/v1/sandboxes", json={}, headers=headers)).status_code == 429


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["nano", "nano+bash"])
@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
async def test_tokens_are_counted_and_then_no_model_is_asked(
    settings: Settings, route: str, model: str, stream: bool
) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(tokens_per_minute=1)))
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "hello"}],
            "stream": stream,
            "max_tokens": 50,
        }
        first = await http.post(route, json=body, headers=bearer(key.token))
        assert first.status_code == 200
        second = await http.post(route, json=body, headers=bearer(key.token))
        assert "tokens in 60 seconds" in second.text
        assert stream or second.status_code == 429


async def test_one_who_starts_much_does_not_hold_up_another(settings: Settings) -> None:
    async with app_with(settings) as (http, services), AsyncExitStack() as turns:
        busy, other = [await services.keys.issue(name, EVERYTHING) for name in ("busy", "other")]
        holder = await services.keys.authenticate(busy.token)
        ended: list[str] = []

        async def run(token: str, path: str) -> None:
            assert (await http.post(path, json={"command": "true"}, headers=bearer(token))).status_code == 200
            ended.append("busy" if token == busy.token else "other")

        async def sandbox_of(token: str) -> str:
            made = (await http.post("/v1/sandboxes", json={}, headers=bearer(token))).json()
            return f"/v1/sandboxes/{made['id']}/commands"

        paths = {token: await sandbox_of(token) for token in (busy.token, other.token)}
        # All but one of the turns are taken for as long as this takes, and the last until all wait.
        for _ in range(STARTS_AT_ONCE - 1):
            await turns.enter_async_context(services.shares.starting(holder))
        async with anyio.create_task_group() as tasks:
            async with services.shares.starting(holder):
                for number, token in enumerate([busy.token] * 20 + [other.token], 1):
                    tasks.start_soon(run, token, paths[token])
                    with anyio.fail_after(60):
                        while services.shares.starts.length < number:
                            await anyio.sleep(0.001)
        assert ended.index("other") <= 4


async def test_runs_at_once_are_counted_also_those_that_pass_through(services: Services) -> None:
    key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(runs=1)))
    caller = await services.keys.authenticate(key.token)
    with services.shares.run(caller):
        with pytest.raises(QuotaReached), services.shares.run(caller):
            raise AssertionError
    with services.shares.run(caller):
        pass


async def test_what_is_stored_is_counted_together(settings: Settings) -> None:
    async with app_with(settings) as (_, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(stored_mib=1)))
        caller = await services.keys.authenticate(key.token)
        kept = await services.uploads.add(caller, "a", "user_data", BytesIO(bytes(1024 * 1024)), None)
        with pytest.raises(QuotaReached):
            await services.uploads.add(caller, "b", "user_data", BytesIO(b"x"), None)
        await services.uploads.delete(caller, kept.id)
        await services.uploads.add(caller, "b", "user_data", BytesIO(b"x"), None)


async def test_a_sandbox_can_guess_at_no_key(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={"egress": {"models": True}})).json()
    ask = "curl -s -o /dev/null -w '%{http_code} ' $OPENAI_BASE_URL/models -H \"Authorization: Bearer"
    script = f'{ask} $OPENAI_API_KEY"; {ask} {KEY}"; {ask} guess"'
    ran = (await client.post(f"/v1/sandboxes/{made['id']}/commands", json={"command": script})).json()
    assert ran["stdout"].split() == ["200", "401", "401"]


async def test_what_was_lent_counts_for_its_owner(settings: Settings) -> None:
    async with app_with(settings) as (http, services):
        key = await services.keys.make(NewKey("x", EVERYTHING, Quotas(requests_per_minute=1)))
        principal = await services.keys.authenticate(key.token)
        lent = services.keys.lent.lend(principal, key.id, "sandbox sb_1", frozenset({Scope.MODELS}))
        assert (await http.get("/v1/keys/self", headers=bearer(lent))).status_code == 200
        assert (await http.get("/v1/keys/self", headers=bearer(key.token))).status_code == 429
