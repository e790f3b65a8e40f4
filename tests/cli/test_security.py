"""`lm-sandbox doctor --security`."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lm_sandbox.cli.security import look_at_files, look_at_keys, look_at_settings
from lm_sandbox.config.access import LimitSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.key_records import ApiKey
from lm_sandbox.identity.principals import Scope
from lm_sandbox.identity.quotas import Quotas
from tests.conftest import lm_sandbox

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def open_in(settings: Settings) -> set[str]:
    return {check.name for check in look_at_settings(settings) if not check.ok}


def test_the_defaults_leave_nothing_open(tmp_path: Path) -> None:
    assert open_in(Settings(data_dir=tmp_path)) == set()


def test_what_is_open_is_named(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        host="0.0.0.0",
        allowed_origins=("*",),
        limits=LimitSettings(address_failures_per_minute=0, address_connections=0),
    )
    assert open_in(settings) == {"encryption", "web pages", "key guessing", "floods"}
    assert open_in(settings.model_copy(update={"host": "::1"})) == {"web pages", "key guessing", "floods"}
    everybody = settings.model_copy(update={"trusted_proxies": ("*",)})
    assert "proxies" in open_in(everybody)


def test_files_that_others_can_read_are_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "api-key").write_text("x")
    (tmp_path / "api-key").chmod(0o644)
    found = {check.name: check.ok for check in look_at_files(Settings(data_dir=tmp_path))}
    assert (found["data directory"], found["local key"]) == (True, False)


def test_admin_keys_without_an_end_and_forgotten_ones_are_named() -> None:
    endless = ApiKey("key_1", "ci", "lms_", frozenset({Scope.ADMIN}), Quotas(), NOW)
    old = ApiKey("key_2", "old", "lms_", frozenset({Scope.MODELS}), Quotas(), NOW - timedelta(days=91))
    revoked = ApiKey("key_3", "x", "lms_", frozenset({Scope.ADMIN}), Quotas(), NOW, revoked_at=NOW)
    admins, forgotten = look_at_keys([endless, old, revoked], NOW)
    assert "key_1" in admins.fix
    assert "key_3" not in admins.fix
    assert "key_2" in forgotten.fix
    assert not admins.required


def test_the_command_says_what_is_open(command_env: dict[str, str]) -> None:
    def call(*more: str) -> subprocess.CompletedProcess[str]:
        command = [lm_sandbox(), "doctor", "--security", *more]
        return subprocess.run(command, env=command_env, capture_output=True, text=True, check=False)

    assert call("--json").returncode == 0
    command_env["LM_SANDBOX_HOST"] = "0.0.0.0"
    done = call("--json")
    assert done.returncode == 1
    report = {check["name"]: check["ok"] for check in json.loads(done.stdout)["checks"]}
    assert not report["encryption"]
    assert "tls_cert" in call().stdout
