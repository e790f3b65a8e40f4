"""What can be asked of a model, where its engine tells."""

from lm_sandbox.errors import NotHonoured
from lm_sandbox.models.engine import Model
from lm_sandbox.models.registry import EMBEDDING_MARKS
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.generation import Prompt, base_name


async def refuse_what_it_cannot(deps: Services, prompt: Prompt, *, thinking: bool) -> None:
    """Stops what a model was not made for, before it is loaded.

    Raises:
        ModelNotFound, ModelFailed, EngineUnavailable: there is no such model, or not now.
        NotHonoured: it takes no images, or does not think.
    """
    _, model = await deps.models.resolve(base_name(prompt.model) or prompt.model)
    known = model.kind.capabilities
    wanted = {
        "images": ("vision", any(message.images for message in prompt.messages)),
        "think": ("thinking", thinking),
    }
    for field, (capability, asked) in wanted.items():
        if asked and known and capability not in known:
            raise NotHonoured(
                f"{prompt.model!r} does not support {capability}; leave {field} out.", field=field
            )


def capabilities(model: Model) -> list[str]:
    """Names them as Ollama does; of a model of which nothing is known, what is likely."""
    if model.kind.capabilities:
        return list(model.kind.capabilities)
    embeds = any(mark in model.name.lower() for mark in EMBEDDING_MARKS)
    return ["embedding"] if embeds else ["completion", "tools"]
