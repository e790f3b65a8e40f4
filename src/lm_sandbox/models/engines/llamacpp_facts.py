"""What a model of the embedded llama.cpp is, in words for people."""

from lm_sandbox.models.engines.llamacpp_model import Wishes
from lm_sandbox.models.gguf import GgufHeader
from lm_sandbox.models.hardware import MIB
from lm_sandbox.models.library import ModelFile


def facts_of(file: ModelFile, header: GgufHeader, wishes: Wishes) -> dict[str, str]:
    """Lists them by name."""
    own = wishes.own
    facts = {
        "architecture": header.architecture,
        "name": header.name,
        "file": file.path.name,
        "size": f"{file.version()[1] / MIB:.1f} MiB",
        "layers": str(len(header.weights.layers)),
        "trained context": str(header.context_tokens or ""),
        "context": f"{wishes.context(header)} tokens for each of {wishes.parallel} requests",
        "cache type": own.kv_type,
        "chat template": "yes" if header.chat_template else "no",
        "purpose": own.purpose,
        "kept loaded": "always" if own.pinned else f"{wishes.keep_alive_s:g} s after its last use",
    }
    files = {"projector": own.mmproj, "draft model": own.draft}
    facts |= {name: path.name for name, path in files.items() if path is not None}
    if own.lora:
        facts["adapters"] = ", ".join(path.name for path in own.lora)
    return {name: value for name, value in facts.items() if value}
