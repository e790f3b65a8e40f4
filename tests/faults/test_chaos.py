"""A few rounds of killing a server under mixed load; `python -m benchmarks.chaos` does hundreds."""

import pytest

from benchmarks.chaos import Chaos
from lm_sandbox.config.storage import DatabaseSettings


@pytest.mark.timeout(400)
def test_nothing_that_was_acknowledged_is_lost_when_servers_are_killed(
    command_env: dict[str, str], database_settings: DatabaseSettings
) -> None:
    url = database_settings.url
    env = command_env | ({"LM_SANDBOX_DATABASE__URL": url.get_secret_value()} if url else {})
    chaos = Chaos(env, seed=1)
    for _ in range(2):
        chaos.round()
    assert all(chaos.total[kind] for kind in ("keys", "uploads", "sandboxes", "commands"))
