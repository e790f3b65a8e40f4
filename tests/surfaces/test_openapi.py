"""What the OpenAPI schema allows, and what it does not, never makes the server fail."""

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.schemas import BaseSchema

from lm_sandbox.app import create_app
from lm_sandbox.config.settings import Settings
from tests.conftest import command_environment, serving

# They would go to the internet, or wait for what never comes; each is asked by name in other tests.
APART = {"/v1/engines/{engine}/pull", "/v1/sandboxes/{sandbox_id}/events"}
OPERATIONS = [
    (method, path)
    for path, methods in create_app(Settings()).openapi()["paths"].items()
    for method in methods
    if path not in APART
]
NOT_NOW = {501, 502, 503, 507}
FAILED = 500


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    env = command_environment(tmp_path_factory.mktemp("openapi") / "data")
    # What a model makes of random words takes long; that they are taken is what is tested.
    env |= {"LM_SANDBOX_AGENT__MAX_WALL_S": "2", "LM_SANDBOX_AGENT__MAX_STEPS": "1"}
    with serving(env) as (_, server):
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        schema.config.update(headers={"Authorization": f"Bearer {server.key}"})
        yield schema


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_makes_the_server_fail(method: str, path: str, api: BaseSchema) -> None:
    operation = api[path][method.upper()]
    modes = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

    @hypothesis.settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        database=None,
        # Without the explanation of a failure, for which every line of the generators is traced.
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(st.one_of(modes))
    def check(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
        answer = case.call(timeout=30)
        assert answer.status_code < FAILED or answer.status_code in NOT_NOW, answer.text

    check()
