"""What is counted, and that no label can be made to grow."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lm_sandbox.config.insight import MetricsAccess
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.principals import Scope
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.telemetry.gpus import GpuCollector

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The sum over all labels that are not named."""
    return sum(
        number
        for (one, those), number in found.items()
        if one == name and labels.items() <= dict(those).items()
    )


async def test_requests_commands_files_and_sandboxes_are_counted(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/sandboxes", json={})).json()
    path = f"/v1/sandboxes/{made['id']}"
    await client.post(f"{path}/commands", json={"command": "exit 3"})
    await client.post(f"{path}/commands", json={"command": "sleep 60", "timeout_s": 0.2})
    await client.put(f"{path}/files/workspace/a", content=b"x")
    await client.get(f"{path}/files/workspace/missing")
    found = await samples(client)
    commands = "/v1/sandboxes/{sandbox_id}/commands"
    assert value(found, "lm_sandbox_requests_total", route=commands, method="POST", status="200") == 2
    assert value(found, "lm_sandbox_request_seconds_count", route=commands) == 2
    assert value(found, "lm_sandbox_errors_total", code="file_not_found") == 1
    assert value(found, "lm_sandbox_sandboxes", state="running") == 1
    assert value(found, "lm_sandbox_sandboxes", state="failed") == 0
    assert value(found, "lm_sandbox_sandboxes_made_total", driver="bubblewrap", outcome="ok") == 1
    assert value(found, "lm_sandbox_sandbox_create_seconds_count", driver="bubblewrap") == 1
    assert value(found, "lm_sandbox_commands_total", outcome="failed") == 1
    assert value(found, "lm_sandbox_commands_total", outcome="limited") == 1
    assert value(found, "lm_sandbox_limits_hit_total", limit="wall_time") == 1
    assert value(found, "lm_sandbox_command_spawn_seconds_count", driver="bubblewrap") == 2
    assert value(found, "lm_sandbox_file_operations_total", operation="write", outcome="ok") == 1
    assert value(found, "lm_sandbox_file_operations_total", operation="read", outcome="file_not_found") == 1
    assert value(found, "lm_sandbox_audit_failing") == 0
    assert value(found, "lm_sandbox_build_info") == 1
    assert value(found, "process_resident_memory_bytes") > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_models_are_counted_straight_through_and_in_the_loop(
    client: httpx.AsyncClient, stream: bool
) -> None:
    for name in ("nano", "nano+bash"):
        body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    found = await samples(client)
    nano = {"engine": "llamacpp", "model": "nano"}
    uses = value(found, "lm_sandbox_model_requests_total", outcome="ok", **nano)
    assert uses >= 2
    for name in ("wait", "first_token", "request"):
        assert value(found, f"lm_sandbox_model_{name}_seconds_count", **nano) == uses
    assert value(found, "lm_sandbox_model_tokens_total", kind="prompt", **nano) > 10
    assert value(found, "lm_sandbox_model_tokens_total", kind="completion", **nano) > 2
    assert value(found, "lm_sandbox_model_waiting", **nano) == 0
    assert value(found, "lm_sandbox_model_served", **nano) == 0


async def test_no_caller_can_make_labels(client: httpx.AsyncClient) -> None:
    await client.get("/healthz")
    before = set(await samples(client))
    for number in range(20):
        await client.get(f"/nowhere/{number}")
        await client.request(f"METHOD{number}", "/healthz")
        await client.get(f"/v1/sandboxes/sb_{number}")
        await client.get(f"/v1/models/no-{number}")
        await client.post(
            "/v1/chat/completions",
            json={"model": f"no-{number}", "messages": [{"role": "user", "content": "x"}]},
        )
        await client.get("/v1/sandboxes", headers={"Authorization": f"Bearer wrong-{number}"})
    after = await samples(client)
    requests = {labels for name, labels in set(after) - before if name == "lm_sandbox_requests_total"}
    assert len(requests) <= 7, requests
    routes = {dict(labels)["route"] for labels in requests}
    assert not any(character.isdigit() for route in routes for character in route.replace("/v1/", "/"))


async def test_the_metrics_need_their_scope(client: httpx.AsyncClient, services: Services) -> None:
    scraper = await services.keys.issue("prometheus", frozenset({Scope.METRICS}))
    other = await services.keys.issue("other", frozenset({Scope.SANDBOXES, Scope.MODELS}))
    for token, status in ((scraper.token, 200), (other.token, 403), ("wrong-key", 401)):
        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert (
        await client.get("/v1/sandboxes", headers={"Authorization": f"Bearer {scraper.token}"})
    ).status_code == 403


@pytest.mark.parametrize(
    ("access", "address", "headers", "status"),
    [
        (MetricsAccess.KEY, "127.0.0.1", {}, 401),
        (MetricsAccess.LOOPBACK, "127.0.0.1", {}, 200),
        (MetricsAccess.LOOPBACK, "::1", {}, 200),
        (MetricsAccess.LOOPBACK, "192.0.2.1", {}, 401),
        (MetricsAccess.LOOPBACK, "127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 401),
        (MetricsAccess.LOOPBACK, "127.0.0.1", {"Forwarded": "for=192.0.2.1"}, 401),
        (MetricsAccess.LOOPBACK, None, {}, 401),
        (MetricsAccess.OFF, "127.0.0.1", {}, 404),
    ],
)
async def test_who_may_read_is_a_setting(  # noqa: PLR0913 - what a request can be like
    services: Services,
    settings: Settings,
    access: MetricsAccess,
    address: str | None,
    headers: dict[str, str],
    status: int,
) -> None:
    from lm_sandbox.app import create_app

    app = create_app(settings)
    app.state.services = services
    services.metrics.access = access
    client = (address, 1) if address else ("unix", 0)
    transport = httpx.ASGITransport(app, client=client)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/metrics", headers=headers)).status_code == status


class Nvml:
    """As much of NVML as is asked, with a GPU that knows nothing of its power."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __getattr__(self, name: str) -> object:
        if name == "nvmlDeviceGetPowerUsage":
            raise self.NVMLError
        answers = {
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetName": "H100",
            "nvmlDeviceGetMemoryInfo": type("Memory", (), {"used": 5, "total": 9}),
            "nvmlDeviceGetUtilizationRates": type("Rates", (), {"gpu": 50}),
            "nvmlDeviceGetTemperature": 40,
        }
        return lambda *_: answers.get(name)


def test_gpus_tell_what_they_know() -> None:
    found = {
        family.name: [(one.labels, one.value) for one in family.samples]
        for family in GpuCollector(Nvml()).collect()
    }
    labels = {"gpu": "0", "name": "H100"}
    assert found["lm_sandbox_gpu_memory_used_bytes"] == [(labels, 5.0)]
    assert found["lm_sandbox_gpu_utilization_ratio"] == [(labels, 0.5)]
    assert found["lm_sandbox_gpu_power_watts"] == []
