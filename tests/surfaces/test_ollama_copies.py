"""Second names of models, by Ollama's API."""

import shutil
from pathlib import Path

import httpx
import pytest

from lm_sandbox.config.settings import Settings

NANO = Path(__file__).parents[2] / "src/lm_sandbox/models/bundled/nano.gguf"


@pytest.mark.anyio
async def test_a_copy_stays_when_its_source_is_deleted(settings: Settings, client: httpx.AsyncClient) -> None:
    folder = settings.data_dir / "models"
    folder.mkdir()
    shutil.copy(NANO, folder / "mine.gguf")

    async def names() -> set[str]:
        told = (await client.get("/api/tags")).json()["models"]
        return {model["name"] for model in told if "+bash" not in model["name"]}

    copied = await client.post("/api/copy", json={"source": "mine", "destination": "yours:latest"})
    assert (copied.status_code, copied.content) == (200, b"")
    made = await client.post("/api/create", json={"model": "third", "from": "mine", "stream": False})
    assert made.json() == {"status": "success"}
    assert len({path.stat().st_ino for path in folder.iterdir()}) == 1  # No byte is there twice.
    again = await client.post("/api/copy", json={"source": "mine", "destination": "third"})
    assert again.status_code == 409
    deleted = await client.request("DELETE", "/api/delete", json={"model": "mine"})
    assert deleted.status_code == 200
    assert await names() == {"yours:latest", "third:latest", "nano:latest"}
    answer = await client.post("/api/generate", json={"model": "yours", "prompt": "hello", "stream": False})
    assert answer.json()["response"]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "mmproj-x", "x-00001-of-00002", "a b"])
async def test_what_is_no_name_makes_no_model(
    settings: Settings, client: httpx.AsyncClient, name: str
) -> None:
    refused = await client.post("/api/copy", json={"source": "nano", "destination": name})
    assert refused.status_code == 400
    assert not list(settings.data_dir.glob("models/*"))


@pytest.mark.anyio
async def test_a_model_that_would_be_another_is_refused_by_the_fields_name(client: httpx.AsyncClient) -> None:
    body = {"model": "x", "from": "nano", "parameters": {"temperature": 0}}
    refused = await client.post("/api/create", json=body)
    assert (refused.status_code, "parameters" in refused.json()["error"]) == (400, True)
