import os
import struct
from importlib import resources
from pathlib import Path

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
