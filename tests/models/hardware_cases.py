"""Machines and models that the tests plan for."""

from lm_sandbox.models.gguf import GgufHeader, Weights
from lm_sandbox.models.hardware import MIB, Gpu, Hardware

GIB = 1024 * MIB
RTX_3060 = Gpu("GPU-3060", "RTX 3060", 12 * GIB, 12 * GIB - 300 * MIB, (8, 6))
GTX_1060 = Gpu("GPU-1060", "GTX 1060", 6 * GIB, 6 * GIB - 100 * MIB, (6, 1))


def machine(*gpus: Gpu, memory: int = 32 * GIB) -> Hardware:
    return Hardware("a processor", 12, 6, memory, memory - 2 * GIB, gpus)


def header(
    layers: int = 48, layer_bytes: int = 170 * MIB, kv_elements: int = 2048, **more: int
) -> GgufHeader:
    """By default the size of a 14B model in Q4_K_M."""
    return GgufHeader(
        architecture="qwen3",
        name="a model",
        context_tokens=32_768,
        chat_template=True,
        tensors=9 * layers,
        weights=Weights((layer_bytes,) * layers, 420 * MIB, 610 * MIB),
        kv_elements=(kv_elements,) * layers,
        embedding_length=more.get("embedding", 5120),
        feed_forward_length=more.get("feed_forward", 17_408),
        vocabulary=more.get("vocabulary", 151_936),
    )
