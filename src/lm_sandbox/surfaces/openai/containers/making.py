"""Makes a container with all that is to be in it."""

from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.openai.containers.files import put_upload
from lm_sandbox.surfaces.openai.containers.schemas import ContainerSpec
from lm_sandbox.surfaces.openai.containers.skills import packed, put_skills, remembered


async def make_container(
    spec: ContainerSpec, metadata: dict[str, str], lifetime: Lifetime, caller: Principal, deps: Services
) -> Sandbox:
    """Makes a sandbox with the files and skills that are named.

    Raises:
        NotFound: a file is not there.
        Invalid, NotHonoured: a part of it cannot be taken.
        NoCapacity, QuotaReached: there is no room for it.
    """
    uploads = [await deps.uploads.find(caller, file_id) for file_id in spec.file_ids]
    skills = await packed(spec.skills)
    new = spec.to_new(deps.sandboxes.default_limits(), metadata | remembered(skills), lifetime)
    sandbox = await deps.sandboxes.create(caller, new)
    for upload in uploads:
        await put_upload(deps, caller, sandbox.id, upload)
    await put_skills(deps, caller, sandbox.id, skills)
    return sandbox
