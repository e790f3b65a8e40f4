"""Skills: folders with instructions and programs, put into a container and told to the model."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Discriminator, Field

from lm_sandbox.errors import Invalid, NotHonoured
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.openai.containers.skill_bundle import as_tar, read_bundle

WORKSPACE = "/workspace"
FOLDER = "skills"
# How a sandbox remembers what it has, in its metadata.
MARK = "skill."
LONGEST_DESCRIPTION = 1024
TOLD = "You have skills. Before a task that one is for, read its SKILL.md and do as it says:\n{skills}"
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class SkillSource(_Open):
    """Where a skill is: in the request itself."""

    type: Literal["base64"]
    media_type: Literal["application/zip"]
    data: str = Field(repr=False)


class InlineSkill(_Open):
    """A skill that comes with the request."""

    type: Literal["inline"]
    name: Name
    description: str = Field(max_length=LONGEST_DESCRIPTION)
    source: SkillSource = Field(exclude=True)


class SkillReference(_Open):
    """A skill that was uploaded, which nothing here keeps."""

    type: Literal["skill_reference"]
    skill_id: str


class LocalSkill(_Open):
    """A skill on the client's side."""

    name: str
    description: str
    path: str


Skill = Annotated[InlineSkill | SkillReference, Discriminator("type")]


@dataclass(frozen=True, slots=True)
class Packed:
    """A skill that is ready for a sandbox: its archive is a tar."""

    name: str
    description: str
    archive: bytes


async def packed(skills: Sequence[Skill], field: str = "skills") -> list[Packed]:
    """Reads skills before anything is made for them.

    Raises:
        NotHonoured: one is a reference.
        Invalid: one cannot be read, or two have one name.
    """
    if len({skill.name for skill in skills if isinstance(skill, InlineSkill)}) < len(skills):
        references = [skill for skill in skills if isinstance(skill, SkillReference)]
        if references:
            raise NotHonoured(
                f"{field}: skills are not kept here; send {references[0].skill_id!r} inline.", field=field
            )
        raise Invalid(f"{field}: two skills have the same name.", field=field)
    found: list[Packed] = []
    for index, skill in enumerate(skills):
        if isinstance(skill, InlineSkill):
            archive = await anyio.to_thread.run_sync(_archive, skill, f"{field}.{index}.source.data")
            found.append(Packed(skill.name, skill.description, archive))
    return found


def remembered(skills: Sequence[Packed]) -> dict[str, str]:
    """Returns the metadata by which a sandbox remembers its skills."""
    return {f"{MARK}{skill.name}": skill.description for skill in skills}


async def put_skills(deps: Services, caller: Principal, container_id: str, skills: Sequence[Packed]) -> None:
    """Puts skills into `/workspace/skills`.

    Raises:
        LimitReached: the sandbox's disk is full.
        SandboxNotFound, Gone: the container is not there.
    """
    for skill in skills:
        async with (
            deps.sandboxes.files(caller, container_id) as files,
            files.unpack(file_path(WORKSPACE)) as writer,
        ):
            await writer.write(skill.archive)
            await writer.finish()


def told(metadata: Mapping[str, str]) -> str:
    """Writes for a model which skills a sandbox has; empty where there are none."""
    lines = [
        f"- {name.removeprefix(MARK)}: {description} ({WORKSPACE}/{FOLDER}/{name.removeprefix(MARK)})"
        for name, description in sorted(metadata.items())
        if name.startswith(MARK)
    ]
    return TOLD.format(skills="\n".join(lines)) if lines else ""


def told_of_local(skills: Sequence[LocalSkill]) -> str:
    """The same of skills on the client's side."""
    lines = [f"- {skill.name}: {skill.description} ({skill.path})" for skill in skills]
    return TOLD.format(skills="\n".join(lines)) if lines else ""


def _archive(skill: InlineSkill, field: str) -> bytes:
    try:
        data = base64.b64decode(skill.source.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{field} has to be Base64.", field=field) from error
    return as_tar(f"{FOLDER}/{skill.name}", read_bundle(data, field))
