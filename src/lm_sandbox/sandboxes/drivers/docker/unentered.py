"""What only works where the server itself can enter a container."""

from pathlib import Path

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.driver import FileChange
from lm_sandbox.sandboxes.files import SandboxFiles
from lm_sandbox.sandboxes.inside.neighbourhood import Network
from lm_sandbox.sandboxes.process import Terminal
from lm_sandbox.sandboxes.terminal import TerminalSpec

WHY = "commands are execs of the Docker engine. Run the server as root beside an engine that uses runc."


class Unentered:
    """A sandbox that refuses it, and says why; each raises `Unsupported`."""

    @property
    def files(self) -> SandboxFiles:
        """Refuses."""
        raise Unsupported(f"Files cannot be reached here; {WHY}")

    @property
    def network(self) -> Network:
        """Refuses."""
        raise Unsupported(f"Nothing can be reached from here, nor be connected to; {WHY}")

    async def open_terminal(self, spec: TerminalSpec) -> Terminal:
        """Refuses."""
        del spec
        raise Unsupported(f"There are no terminals here; {WHY}")

    async def save(self, folder: Path) -> int:
        """Refuses."""
        del folder
        raise Unsupported(f"There are no snapshots here; {WHY}")

    async def load(self, folder: Path) -> None:
        """Refuses."""
        del folder
        raise Unsupported(f"There are no snapshots here; {WHY}")

    async def changes(self, folder: Path, until: Path | None = None) -> list[FileChange]:
        """Refuses."""
        del folder, until
        raise Unsupported(f"There are no snapshots here; {WHY}")
