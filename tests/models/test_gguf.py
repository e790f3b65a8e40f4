import os
import struct
from importlib import resources
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lm_sandbox.errors import ModelFailed
from lm_sandbox.models.estimate import needs_of
from lm_sandbox.models.gguf import MOST_LAYERS, read_header

NANO = Path(str(resources.files("lm_sandbox.models.bundled") / "nano.gguf"))
BYTES = NANO.read_bytes()[:60_000]


def test_the_bundled_model_tells_what_it_is() -> None:
    header = read_header(NANO)
    assert header.architecture == "llama"
    assert header.chat_template
    assert header.context_tokens
    assert header.tensors > 10
    assert len(header.weights.layers) == 5
    assert 0.9 * NANO.stat().st_size < header.weights.total <= NANO.stat().st_size
    assert header.vocabulary > 1000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"GG", "truncated"),
        (b"not a model at all", "not a GGUF"),
        (b"GGUF" + struct.pack("<I", 99), "version 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "claims"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**62), "claims"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "no architecture"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77), "unknown type"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1), "unknown type"),
        (BYTES[:200], "truncated"),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelFailed, match=reason):
        read_header(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="cannot be read"):
        read_header(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.integers(4, len(BYTES) - 50), st.binary(min_size=1, max_size=40))
def test_no_change_of_the_header_does_more_than_refuse_it(tmp_path: Path, at: int, junk: bytes) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(BYTES[:at] + junk + BYTES[at + len(junk) :])
    os.truncate(file, NANO.stat().st_size)
    try:
        header = read_header(file)
    except ModelFailed:
        return
    assert header.architecture
    assert 0 <= header.weights.total <= NANO.stat().st_size
    assert len(header.kv_elements) == len(header.weights.layers) <= MOST_LAYERS
    assert needs_of(header, 8192).total >= 0


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=40),
    st.tuples(st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 32, 64, 4096])),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_byte_of_a_model_is_counted_where_it_is(
    tmp_path: Path, sizes: list[int], shape: tuple[int, int, int], own_output: bool, order: Random
) -> None:
    """Writes a model of these layers, with its tensors in any order, and reads it back."""
    layers = len(sizes)
    heads, width, alignment = shape
    tensors = [(f"blk.{n}.w", size) for n, size in enumerate(sizes)] + [
        ("token_embd.weight", 700),
        ("output_norm", 8),
    ]
    tensors += [("output.weight", 900)] if own_output else []
    order.shuffle(tensors)
    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("x"),
        number("general.alignment", alignment),
        number("x.block_count", layers),
        number("x.embedding_length", heads * width),
        number("x.attention.head_count", heads),
        text("x.attention.head_count_kv")
        + struct.pack("<IIQ", 9, 4, layers)
        + struct.pack(f"<{layers}I", *range(layers)),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("b") + text("c"),
    ]
    infos, data = b"", b""
    for name, size in tensors:
        infos += text(name) + struct.pack("<IQIQ", 1, size, 0, len(data))
        data += bytes(size)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries) + infos
    file = tmp_path / "model.gguf"
    file.write_bytes(head + bytes(-len(head) % alignment) + data)
    header = read_header(file)
    assert header.weights.layers == tuple(sizes)
    assert (header.weights.embedding, header.weights.tied) == (700, not own_output)
    assert header.weights.output == 8 + (900 if own_output else 0)
    assert header.weights.total == len(data)
    assert header.kv_elements == tuple(n * 2 * width for n in range(layers))
    assert header.vocabulary == 3
    file.write_bytes(file.read_bytes()[: len(head)])
    with pytest.raises(ModelFailed, match="truncated"):
        read_header(file)


def test_latent_attention_keeps_one_vector_a_token(tmp_path: Path) -> None:
    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("deepseek2"),
        number("deepseek2.block_count", 2),
        number("deepseek2.attention.head_count", 128),
        number("deepseek2.attention.kv_lora_rank", 512),
        number("deepseek2.rope.dimension_count", 64),
    ]
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries))
    assert read_header(file).kv_elements == (576, 576)
