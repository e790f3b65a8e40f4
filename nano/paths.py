"""Where training writes."""

from pathlib import Path

BUILD = Path(__file__).parent / "build"
PACKAGED = Path(__file__).parents[1] / "src/lm_sandbox/models/bundled/nano.gguf"
