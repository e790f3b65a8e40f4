"""What a model needs, from the header of its file: weights, cache and buffers, each layer by itself.

Estimates are on the side of too much: a load that fails for memory costs more than a layer on the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lm_sandbox.models.gguf import GgufHeader
from lm_sandbox.models.hardware import MIB

# Tokens that llama.cpp computes at once, by its default.
BATCH_TOKENS = 512
MOST_PROMPT_CACHE = 512 * MIB
# The libraries of a process, and on a GPU its CUDA context.
PROCESS_BYTES = 96 * MIB
GPU_CONTEXT_BYTES = 384 * MIB
F32 = 4
# From ggml's block layouts: bytes of a block by the numbers in it.
KV_BYTES: Mapping[str, float] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs, in bytes.

    Attributes:
        weights: Of each layer.
        cache: Of each layer, for all slots.
        output: After the last layer, where a GPU computes it.
        output_buffer: What is computed there.
        host_output: The output's own weights, where the host computes it.
        embedding: Of the table of tokens, always in host memory.
        buffer: What every device that computes layers needs for it.
        extras: Projector, adapters and draft model, on the first device.
        prompt_cache: Earlier prompts, in host memory.
    """

    weights: tuple[int, ...]
    cache: tuple[int, ...]
    output: int
    output_buffer: int
    host_output: int
    embedding: int
    buffer: int
    extras: int = 0
    prompt_cache: int = 0

    @property
    def total(self) -> int:
        """All of it on one device."""
        fixed = self.embedding + self.output_buffer + self.buffer + self.extras + self.prompt_cache
        return sum(self.weights) + sum(self.cache) + self.host_output + fixed + PROCESS_BYTES


def needs_of(header: GgufHeader, context: int, kv_type: str = "f16", extras: int = 0) -> Needs:
    """Estimates what a model needs.

    Args:
        header: Of its file.
        context: Tokens over all slots.
        kv_type: Of the cache.
        extras: Bytes of the files that are loaded beside it.
    """
    weights = header.weights
    batch = min(BATCH_TOKENS, context)
    widest = 6 * header.embedding_length + 3 * header.feed_forward_length
    cache = tuple(int(count * KV_BYTES[kv_type] * context) for count in header.kv_elements)
    return Needs(
        weights=weights.layers,
        cache=cache,
        output=weights.output + (weights.embedding if weights.tied else 0),
        output_buffer=F32 * batch * header.vocabulary,
        host_output=weights.output,
        embedding=weights.embedding,
        buffer=F32 * batch * (widest + context),
        extras=extras,
        prompt_cache=min(MOST_PROMPT_CACHE, 2 * sum(cache)),
    )
