from pathlib import Path

import pytest
from pydantic import ValidationError

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.config.settings import Settings
from lm_sandbox.parts import build_driver


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_later_source_wins(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "lm-sandbox.toml").write_text("port = 1\nhost = '1.1.1.1'\n[sandbox]\npids = 11\n")
    (elsewhere / ".env").write_text("LM_SANDBOX_PORT=2\nLM_SANDBOX_SANDBOX__CPUS=0.5\nOTHER_PROGRAM=x\n")
    assert (Settings().port, Settings().host, Settings().sandbox.pids) == (2, "1.1.1.1", 11)
    assert Settings().sandbox.cpus == 0.5
    monkeypatch.setenv("LM_SANDBOX_PORT", "3")
    assert Settings().port == 3
    assert Settings(port=4).port == 4


@pytest.mark.parametrize(
    "text", ["prot = 1", "[sandbox]\nmemroy_mib = 1", "port = -1", "[sandbox]\npids = 0"]
)
def test_a_wrong_name_or_value_in_the_file_is_refused(elsewhere: Path, text: str) -> None:
    (elsewhere / "lm-sandbox.toml").write_text(text)
    with pytest.raises(ValidationError):
        Settings()


def test_the_settings_cannot_be_changed_and_do_not_show_the_key() -> None:
    settings = Settings(api_key="a-secret-of-sixteen")
    with pytest.raises(ValidationError):
        setattr(settings, "port", 5)  # noqa: B010 - the type checker knows that it is forbidden
    assert "a-secret" not in repr(settings)


@pytest.mark.parametrize("name", ["bubblewrap", "docker"])
def test_each_driver_is_built_by_its_name(elsewhere: Path, name: str) -> None:
    settings = Settings(data_dir=elsewhere, sandbox=SandboxSettings.model_validate({"driver": name}))
    assert build_driver(settings).name == name


def test_the_key_may_stand_in_a_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "key").write_text("a-secret-of-sixteen\n")
    monkeypatch.setenv("LM_SANDBOX_API_KEY_FILE", str(elsewhere / "key"))
    key = Settings().api_key
    assert key is not None
    assert key.get_secret_value() == "a-secret-of-sixteen"
    with pytest.raises(ValidationError, match="exclude each other"):
        Settings(api_key="another-of-sixteen")
    monkeypatch.setenv("LM_SANDBOX_API_KEY_FILE", str(elsewhere / "none"))
    with pytest.raises(ValidationError, match="cannot be read"):
        Settings()
