"""Conversations, counting, compaction and skills by the official OpenAI client, with the real model."""

import base64
import io
import json
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from lm_sandbox.surfaces.openai.containers.skills import told
from tests.conftest import Server

SHELL: Any = [{"type": "shell"}]


@pytest.fixture
def sdk(shared_server: Server) -> Iterator[openai.OpenAI]:
    url, key = f"{shared_server.url}/v1", shared_server.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def kinds(sdk: openai.OpenAI, conversation_id: str) -> list[str]:
    return [item.type for item in sdk.conversations.items.list(conversation_id, order="asc")]


def test_a_conversation_is_made_changed_and_deleted(sdk: openai.OpenAI) -> None:
    items: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    made = sdk.conversations.create(items=items, metadata={"about": "tests"})
    assert (made.object, made.metadata) == ("conversation", {"about": "tests"})
    assert sdk.conversations.retrieve(made.id) == made
    assert sdk.conversations.update(made.id, metadata={"about": "more"}).metadata == {"about": "more"}
    added = sdk.conversations.items.create(made.id, items=[{"role": "user", "content": "bye"}])
    listed = sdk.conversations.items.list(made.id)
    texts = [item.content[0].text for item in listed if item.type == "message"]  # type: ignore[union-attr]
    assert texts == ["bye", "hello", "hi"]
    (last,) = added.data
    assert sdk.conversations.items.retrieve(str(last.id), conversation_id=made.id) == last
    assert sdk.conversations.items.delete(str(last.id), conversation_id=made.id).id == made.id
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.items.retrieve(str(last.id), conversation_id=made.id)
    assert sdk.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(made.id)


def test_items_are_paged(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create(items=[{"role": "user", "content": f"n{n}"} for n in range(5)])
    page = sdk.conversations.items.list(made.id, order="asc", limit=2)
    assert page.has_more
    assert len(list(page)) == 5


def test_a_response_goes_on_with_a_conversation_and_its_sandbox(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create()
    first = sdk.responses.create(
        model="nano", conversation=made.id, input="create an empty file called kept.txt", tools=SHELL
    )
    assert first.conversation is not None
    assert first.conversation.id == made.id
    assert kinds(sdk, made.id) == ["message", "shell_call", "shell_call_output", "message"]
    with sdk.responses.stream(
        model="nano", conversation={"id": made.id}, input="ls", tools=SHELL, store=False
    ) as stream:
        second = stream.get_final_response()
    outputs = [item for item in second.output if item.type == "shell_call_output"]
    assert "kept.txt" in outputs[0].output[0].stdout
    assert kinds(sdk, made.id) == ["message", "shell_call", "shell_call_output", "message"] * 2
    asked = sdk.responses.input_tokens.count(model="nano", conversation=made.id, input="ls")
    assert asked.input_tokens > sdk.responses.input_tokens.count(model="nano", input="ls").input_tokens


def test_a_response_that_fails_adds_nothing(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create()
    nonsense: Any = {"format": {"type": "json_schema", "name": "s", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.APIStatusError):
        sdk.responses.create(model="nano", conversation=made.id, input="hello", text=nonsense)
    assert kinds(sdk, made.id) == []


def test_a_conversation_and_an_earlier_response_exclude_each_other(sdk: openai.OpenAI) -> None:
    made = sdk.conversations.create()
    with pytest.raises(openai.UnprocessableEntityError, match="exclude each other"):
        sdk.responses.create(model="nano", conversation=made.id, previous_response_id="resp_1", input="x")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="nano", conversation="conv_none", input="x")


def test_tokens_are_counted_as_the_model_takes_them(sdk: openai.OpenAI) -> None:
    asked: Any = {"model": "nano", "input": "hello", "instructions": "Be short."}
    made = sdk.responses.create(**asked)
    assert made.usage is not None
    assert sdk.responses.input_tokens.count(**asked).input_tokens == made.usage.input_tokens
    with_more = sdk.responses.input_tokens.count(model="nano", input="hello there, you", tools=SHELL)
    assert with_more.input_tokens > made.usage.input_tokens
    assert sdk.responses.input_tokens.count(input="hello").object == "response.input_tokens"


def test_a_long_conversation_is_made_short_and_gone_on_with(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="nano", input="whoami", tools=SHELL)
    short = sdk.responses.compact(model="nano", previous_response_id=first.id)
    assert short.object == "response.compaction"
    assert [item.type for item in short.output] == ["message", "compaction"]
    assert short.usage.output_tokens > 0
    items: Any = [item.model_dump(exclude_none=True, warnings=False) for item in short.output]
    again = sdk.responses.create(model="nano", input=[*items, {"role": "user", "content": "hello"}])
    assert again.output_text
    items[-1]["encrypted_content"] = "of another server"
    with pytest.raises(openai.UnprocessableEntityError, match="compaction"):
        sdk.responses.create(model="nano", input=items)


def skill(name: str = "greeting", folder: str = "", **files: str) -> dict[str, object]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in ({"SKILL.md": "Run greet.sh."} | files).items():
            info = zipfile.ZipInfo(folder + path)
            info.external_attr = (stat.S_IFREG | (0o755 if path.endswith(".sh") else 0o644)) << 16
            archive.writestr(info, text)
    data = base64.b64encode(packed.getvalue()).decode()
    source = {"type": "base64", "media_type": "application/zip", "data": data}
    return {"type": "inline", "name": name, "description": "Greets people.", "source": source}


@pytest.mark.parametrize("folder", ["", "greeting/"])
def test_a_skill_is_there_in_its_container(sdk: openai.OpenAI, shared_server: Server, folder: str) -> None:
    script = "#!/bin/bash\necho good day\n"
    made = sdk.containers.create(name="skilled", skills=[skill(folder=folder, **{"bin/greet.sh": script})])  # type: ignore[list-item]
    path = "/workspace/skills/greeting"
    ran = sdk.post(
        f"{shared_server.url}/v1/sandboxes/{made.id}/commands",
        body={"command": f"cat {path}/SKILL.md; {path}/bin/greet.sh"},
        cast_to=object,
    )
    assert ran["stdout"] == "Run greet.sh.good day\n"  # type: ignore[index]


def test_a_model_is_told_of_the_skills_of_its_sandbox() -> None:
    text = told({"skill.greeting": "Greets people.", "container_name": "skilled"})
    assert text.splitlines()[1:] == ["- greeting: Greets people. (/workspace/skills/greeting)"]
    assert not told({"container_name": "skilled"})


def test_a_response_brings_its_skills_along(sdk: openai.OpenAI) -> None:
    environment: Any = {"type": "container_auto", "skills": [skill(), skill("other")]}
    made = sdk.responses.create(
        model="nano", input="list the files in skills", tools=[{"type": "shell", "environment": environment}]
    )
    (output,) = [item for item in made.output if item.type == "shell_call_output"][:1]
    assert {"greeting", "other"} <= set(output.output[0].stdout.split())
    kept = json.dumps(sdk.responses.retrieve(made.id).to_dict())
    assert "Greets people." in kept
    assert "UEsDB" not in kept  # The archive itself is not kept.


REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)
BAD: list[tuple[dict[str, object], str]] = [
    ({"type": "skill_reference", "skill_id": "skill_1"}, "skill_1"),
    (skill("../x"), "name"),
    ({**skill(), "source": {"type": "base64", "media_type": "application/zip", "data": "AAAA"}}, "zip"),
    ({**skill(), "source": {"type": "base64", "media_type": "application/zip", "data": "!"}}, "Base64"),
    (skill(**{"../../etc/x": "x"}), "leads out"),
    (skill(folder="a/b/"), "SKILL.md"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_skill_that_cannot_be_taken_is_refused(
    sdk: openai.OpenAI, bad: dict[str, object], words: str
) -> None:
    with pytest.raises(REFUSED, match=words) as refusal:
        sdk.containers.create(name="c", skills=[bad])  # type: ignore[list-item]
    assert str(refusal.value.body["param"]).startswith("skills")  # type: ignore[index]
