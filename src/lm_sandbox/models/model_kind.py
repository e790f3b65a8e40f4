"""What sort of model one is: how big, how written down, and what can be asked of it."""

from dataclasses import dataclass
from typing import Literal

from lm_sandbox.models.gguf import GgufHeader

Capability = Literal["completion", "tools", "thinking", "vision", "embedding", "rerank"]
THOUSAND = 1000
# Of llama.cpp's `llama_ftype`, in `include/llama.h`.
_QUANTISATIONS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
}


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What is known of a model without loading it; what is not known is empty.

    Attributes:
        format: Of its file, such as `gguf`.
        architecture: Such as `llama`.
        parameters: For people, such as `8.0B`.
        quantisation: Such as `Q4_K_M`.
        capabilities: What can be asked of it.
    """

    format: str = ""
    architecture: str = ""
    parameters: str = ""
    quantisation: str = ""
    capabilities: tuple[str, ...] = ()


UNKNOWN_KIND = ModelKind()


def kind_of(
    header: GgufHeader, purpose: Literal["chat", "embedding", "rerank"], *, vision: bool
) -> ModelKind:
    """Reads it out of a header and what the model is loaded for."""
    can: list[Capability] = ["completion"]
    can += ["tools"] if header.tools else []
    can += ["thinking"] if header.thinking else []
    can += ["vision"] if vision else []
    others: dict[str, list[Capability]] = {"embedding": ["embedding"], "rerank": ["rerank"]}
    return ModelKind(
        format="gguf",
        architecture=header.architecture,
        parameters=rounded(header.parameters),
        quantisation=_QUANTISATIONS.get(header.file_type, "unknown"),
        capabilities=tuple(others.get(purpose, can)),
    )


def rounded(count: int) -> str:
    """Writes a number of parameters as people do: `2.6M`, `8.0B`."""
    if not count:
        return ""
    number = float(count)
    for unit in ("", "K", "M", "B"):
        if number < THOUSAND:
            return f"{number:.1f}{unit}" if unit else f"{count}"
        number /= THOUSAND
    return f"{number:.1f}T"
