"""The driver where the tests' own environment cannot be read."""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# What the driver imports; nothing in it is made for one version of Python.
PACKAGES = (
    *("lm_sandbox", "anyio", "idna", "typing_extensions", "pyseccomp"),
    *("httpx", "httpcore", "h11", "certifi"),
)


@pytest.fixture
def importable() -> Iterator[Path]:
    """A folder that everybody may read, with the driver and what it imports."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            ignored = shutil.ignore_patterns("__pycache__", "*.gguf")
            shutil.copytree(origin.parent, folder / origin.parent.name, ignore=ignored)
        else:
            shutil.copy(origin, folder)
    yield folder
    shutil.rmtree(folder)
