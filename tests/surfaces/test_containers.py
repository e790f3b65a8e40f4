"""OpenAI's containers and files, by the official client."""

import hashlib
import io
import os
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.conftest import Server


@pytest.fixture
def sdk(shared_server: Server) -> Iterator[openai.OpenAI]:
    url, key = f"{shared_server.url}/v1", shared_server.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def test_a_container_is_made_found_listed_and_deleted(sdk: openai.OpenAI) -> None:
    made = sdk.containers.create(
        name="mine", expires_after={"anchor": "last_active_at", "minutes": 20},
        network_policy={"type": "allowlist", "allowed_domains": ["pypi.org"]},
    )  # fmt: skip
    assert made.status == "active"
    assert made.expires_after is not None
    assert made.expires_after.minutes == 20
    assert made.network_policy is not None
    assert made.network_policy.allowed_domains == ["pypi.org"]
    assert sdk.containers.retrieve(made.id).name == "mine"
    twin = sdk.containers.create(name="mine")
    assert {made.id, twin.id} <= {container.id for container in sdk.containers.list(name="mine")}
    sdk.containers.delete(made.id)
    with pytest.raises(openai.APIStatusError) as gone:
        sdk.containers.retrieve(made.id)
    assert gone.value.status_code == 410


def test_containers_are_paged_in_both_orders(sdk: openai.OpenAI) -> None:
    made = [sdk.containers.create(name="paged").id for _ in range(3)]
    assert [c.id for c in sdk.containers.list(name="paged", limit=2, order="asc")] == made
    assert [c.id for c in sdk.containers.list(name="paged", limit=1)] == made[::-1]


def test_a_file_goes_in_is_used_by_a_command_and_what_that_makes_comes_out(sdk: openai.OpenAI) -> None:
    container = sdk.containers.create(name="files").id
    content = os.urandom(3_000_000)
    put = sdk.containers.files.create(container, file=("data.bin", io.BytesIO(content)))
    assert put.path == "/workspace/data.bin"
    assert put.bytes == len(content)
    assert put.source == "user"
    tools: Any = [
        {"type": "shell", "environment": {"type": "container_reference", "container_id": container}}
    ]
    sdk.responses.create(model="nano", input="copy data.bin to copy.bin", tools=tools)
    listed = {file.path: file for file in sdk.containers.files.list(container)}
    assert set(listed) == {"/workspace/data.bin", "/workspace/copy.bin"}
    copied = listed["/workspace/copy.bin"]
    assert sdk.containers.files.retrieve(copied.id, container_id=container).bytes == len(content)
    got = sdk.containers.files.content.retrieve(copied.id, container_id=container).read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest()
    sdk.containers.files.delete(copied.id, container_id=container)
    with pytest.raises(openai.NotFoundError):
        sdk.containers.files.retrieve(copied.id, container_id=container)


def test_an_uploaded_file_is_in_the_containers_that_name_it(sdk: openai.OpenAI) -> None:
    file = sdk.files.create(file=("notes.txt", b"from an upload\n"), purpose="user_data")
    container = sdk.containers.create(name="with file", file_ids=[file.id])
    [there] = sdk.containers.files.list(container.id)
    assert (
        sdk.containers.files.content.retrieve(there.id, container_id=container.id).read()
        == b"from an upload\n"
    )
    other = sdk.containers.create(name="later")
    assert sdk.containers.files.create(other.id, file_id=file.id).path == "/workspace/notes.txt"
    auto: Any = {"type": "shell", "environment": {"type": "container_auto", "file_ids": [file.id]}}
    made = sdk.responses.create(model="nano", input="cat notes.txt", tools=[auto])
    assert "from an upload" in str(made.output)


def test_files_are_listed_shown_and_deleted(sdk: openai.OpenAI) -> None:
    made = sdk.files.create(
        file=("a.txt", b"abc"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.bytes == 3
    assert made.expires_at == made.created_at + 3600
    assert made.id in {file.id for file in sdk.files.list(purpose="user_data")}
    assert made.id not in {file.id for file in sdk.files.list(purpose="vision")}
    assert sdk.files.content(made.id).read() == b"abc"
    assert sdk.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(made.id)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "..\\..\\x", "/etc/passwd"])
def test_a_name_that_climbs_stays_in_the_workspace(sdk: openai.OpenAI, name: str) -> None:
    container = sdk.containers.create(name="climber").id
    path = sdk.containers.files.create(container, file=(name, b"x")).path
    assert path in {"/workspace/x", "/workspace/passwd"}


@pytest.mark.parametrize(
    "file_id", ["cfile_L2V0Yy9wYXNzd2Q", "cfile_L3dvcmtzcGFjZS8uLi9ldGMvcGFzc3dk", "cfile_%", "x"]
)
def test_a_file_id_that_leads_out_of_the_workspace_is_unknown(sdk: openai.OpenAI, file_id: str) -> None:
    container = sdk.containers.create(name="leads out").id
    with pytest.raises(openai.NotFoundError):
        sdk.containers.files.content.retrieve(file_id, container_id=container)


def test_more_memory_than_the_server_gives_is_refused_by_name(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="memory_limit"):
        sdk.containers.create(name="huge", memory_limit="64g")


def test_a_form_without_a_file_or_a_purpose_is_refused_by_name(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="purpose"):
        sdk.files.create(file=("a", b"x"), purpose="Not A Purpose")  # type: ignore[arg-type]
    with pytest.raises(openai.UnprocessableEntityError, match="file"):
        sdk.post("/files", body={"purpose": "vision"}, cast_to=object, files=[("other", b"x")],
                 options={"headers": {"Content-Type": "multipart/form-data"}})  # fmt: skip


def test_a_secret_for_a_domain_is_in_no_answer_and_in_no_variable(sdk: openai.OpenAI) -> None:
    policy: Any = {
        "type": "allowlist",
        "allowed_domains": ["api.test"],
        "domain_secrets": [{"domain": "api.test", "name": "TOKEN", "value": "s3cr3t-value"}],
    }
    made = sdk.containers.create(name="with secret", network_policy=policy)
    shown = sdk.get(f"/sandboxes/{made.id}", cast_to=object)
    assert shown["secrets"] == [{"domain": "api.test", "name": "TOKEN"}]  # type: ignore[index]
    ran = sdk.post(f"/sandboxes/{made.id}/commands", body={"command": "env"}, cast_to=object)
    assert "TOKEN=secret-token-" in str(ran)
    assert "s3cr3t-value" not in str(ran) + str(shown) + str(made.to_dict())
    policy["allowed_domains"] = ["other.test"]
    with pytest.raises(openai.UnprocessableEntityError, match="does not reach"):
        sdk.containers.create(name="x", network_policy=policy)
