"""Pulls from a hub that speaks the Hugging Face hub's API, with ranges, wrong sums and cut connections."""

from importlib import resources
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from lm_sandbox.errors import Conflict, EngineUnavailable, Invalid, NoCapacity, UpstreamError
from lm_sandbox.models import hub as product
from lm_sandbox.models.engine import PullProgress
from lm_sandbox.models.hub import Hub
from lm_sandbox.models.hub_files import HubFile, HubSource, choose_files
from lm_sandbox.models.library import Library
from tests.conftest import lm_sandbox
from tests.models import hub as hubs
from tests.models.hub import REPO, serving

pytestmark = pytest.mark.anyio
NANO = Path(str(resources.files("lm_sandbox.models.bundled") / "nano.gguf")).read_bytes()
FILES = {
    "README.md": b"# hi",
    "small-Q4_K_M.gguf": NANO,
    "small-Q8_0.gguf": NANO[:1000],
    "mmproj-small.gguf": b"x",
}

BIG = {"big-Q4_K_M.gguf": NANO * 9}
# What is written at once.
CHUNK = 4 * 1024 * 1024


class Steps(list[PullProgress]):
    async def tell(self, step: PullProgress) -> None:
        self.append(step)


async def test_a_model_is_pulled_checked_and_found(tmp_path: Path) -> None:
    steps = Steps()
    async with serving(hubs.Hub(FILES)) as hub:
        await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}:q4_k_m", steps.tell)
    assert (tmp_path / "small-Q4_K_M.gguf").read_bytes() == NANO
    assert [file.name for file in Library(tmp_path, {}).find()] == ["small-Q4_K_M", "nano"]
    assert steps[-1].status == "success"
    pulled = [step for step in steps if step.status == "pulling small-Q4_K_M.gguf"]
    assert pulled[-1].completed == pulled[-1].total == len(NANO)
    assert any(step.status == "verifying sha256" for step in steps)


async def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    async with serving(hubs.Hub(BIG, cut_after=[12_000_000])) as hub:
        await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
    assert (tmp_path / "big-Q4_K_M.gguf").read_bytes() == NANO * 9
    assert ranges(hub) == ["", f"bytes={2 * CHUNK}-"]


async def test_a_pull_that_was_left_goes_on_with_the_next_one(tmp_path: Path) -> None:
    async with serving(hubs.Hub(BIG)) as hub:
        with anyio.CancelScope() as scope:

            async def leave(step: PullProgress) -> None:
                if step.completed == CHUNK:
                    scope.cancel()
                    await anyio.sleep_forever()

            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", leave)
        assert scope.cancelled_caught
        assert not list(tmp_path.glob("*.gguf"))
        await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
    assert (tmp_path / "big-Q4_K_M.gguf").read_bytes() == NANO * 9
    assert ranges(hub) == ["", f"bytes={CHUNK}-"]


def ranges(hub: hubs.Hub) -> list[str]:
    return [asked for method, path, asked in hub.asked if method == "GET" and "/resolve/" in path]


async def test_a_damaged_file_is_refused_and_pulled_anew(tmp_path: Path) -> None:
    async with serving(hubs.Hub(FILES, wrong_sums={"small-Q4_K_M.gguf"})) as hub:
        with pytest.raises(UpstreamError, match="damaged"):
            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
        assert not list(tmp_path.rglob("*.gguf"))
        hub.wrong_sums.clear()
        await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
    assert (tmp_path / "small-Q4_K_M.gguf").read_bytes() == NANO


async def test_a_model_in_parts_comes_whole(tmp_path: Path) -> None:
    names = [f"Q8_0/big-Q8_0-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    parts = {name: NANO[n * 1000 : (n + 1) * 1000] for n, name in enumerate(names)}
    async with serving(hubs.Hub(parts)) as hub:
        await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}:Q8_0", Steps().tell)
    assert b"".join((tmp_path / Path(name).name).read_bytes() for name in names) == NANO[:3000]
    [file, _] = Library(tmp_path, {}).find()
    assert (file.name, len(file.parts()), file.version()[1]) == ("big-Q8_0", 3, 3000)


async def test_a_private_repository_needs_the_token(tmp_path: Path) -> None:
    async with serving(hubs.Hub(FILES, private=True)) as hub:
        with pytest.raises(UpstreamError, match="hub_token") as refusal:
            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
        assert hub.url not in refusal.value.message
        await Hub(tmp_path, SecretStr("hf_good"), hub.url).pull(f"hf:{REPO}", Steps().tell)
    assert list(tmp_path.glob("*.gguf"))


async def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    async with serving(hubs.Hub(FILES)) as hub:
        with pytest.raises(Invalid, match=r"no GGUF file of Q2_K.*small-Q4_K_M\.gguf"):
            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}:Q2_K", Steps().tell)
        with pytest.raises(UpstreamError, match="no repository"):
            await Hub(tmp_path, None, hub.url).pull("hf:no/such", Steps().tell)


async def test_a_hub_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await Hub(tmp_path, None, "http://127.0.0.1:9").pull(f"hf:{REPO}", Steps().tell)


async def test_two_do_not_pull_the_same_at_once(tmp_path: Path) -> None:
    begun, go_on = anyio.Event(), anyio.Event()

    async def hold(step: PullProgress) -> None:
        if step.completed:
            begun.set()
            await go_on.wait()

    async with serving(hubs.Hub(FILES)) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(Hub(tmp_path, None, hub.url).pull, f"hf:{REPO}", hold)
        await begun.wait()
        with pytest.raises(Conflict, match="already"):
            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
        go_on.set()
    assert (tmp_path / "small-Q4_K_M.gguf").read_bytes() == NANO


async def test_the_command_pulls_from_the_hub_that_the_environment_names(
    command_env: dict[str, str], tmp_path: Path
) -> None:
    async with serving(hubs.Hub(FILES)) as hub:
        env = command_env | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        done = await anyio.run_process([lm_sandbox(), "models", "pull", f"hf:{REPO}"], env=env, check=False)
        refused = await anyio.run_process([lm_sandbox(), "models", "pull", "hf:a/b"], env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert b"pulling small-Q4_K_M.gguf" in done.stdout
    assert (tmp_path / "data/models/small-Q4_K_M.gguf").read_bytes() == NANO
    assert refused.returncode == 1
    assert b"no repository" in refused.stderr


async def test_a_disk_that_is_too_small_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "SPARE_BYTES", 2**62)
    async with serving(hubs.Hub(FILES)) as hub:
        with pytest.raises(NoCapacity, match="MiB"):
            await Hub(tmp_path, None, hub.url).pull(f"hf:{REPO}", Steps().tell)
    assert not any("/resolve/" in path for _, path, _ in hub.asked)


@pytest.mark.parametrize("text", ["", "hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b:", "hf:a/b:x/y", "http://a/b", "hf:a/b:Q4\n"])  # fmt: skip
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        HubSource.parse(text)


@pytest.mark.parametrize(
    ("quant", "names", "chosen"),
    [
        (None, ["m-Q2_K.gguf", "m-Q4_K_M.gguf"], "m-Q4_K_M.gguf"),
        (None, ["m-Q2_K.gguf", "m-Q8_0.gguf"], "m-Q8_0.gguf"),
        (None, ["m-F16.gguf"], "m-F16.gguf"),
        ("Q4_0", ["m-IQ4_0.gguf", "m-Q4_0_8.gguf", "m.Q4_0.gguf"], "m.Q4_0.gguf"),
        ("q6_k", ["m-Q6_K.gguf", "m-Q6_K_L.gguf"], "m-Q6_K.gguf"),
        (
            "Q4_K_M",
            ["../m-Q4_K_M.gguf", "/m-Q4_K_M.gguf", "a/../m-Q4_K_M.gguf", "a/m-Q4_K_M.gguf"],
            "a/m-Q4_K_M.gguf",
        ),
    ],
)
def test_the_right_file_is_chosen(quant: str | None, names: list[str], chosen: str) -> None:
    [file] = choose_files(HubSource("a/b", quant), [HubFile(name, 1, None) for name in names])
    assert file.name == chosen


def test_a_model_with_a_part_missing_is_refused() -> None:
    parts = [HubFile(f"m-Q8_0-0000{n}-of-00003.gguf", 1, None) for n in (1, 3)]
    with pytest.raises(Invalid, match="2 of the 3 parts"):
        choose_files(HubSource("a/b", "Q8_0"), parts)
