"""What attempts are after: a secret in the environment, one in a file, and an open port."""

import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lm_sandbox.sandboxes.verification.attempts import CANARY

FOR_ALL = 0o666


@dataclass(frozen=True, slots=True)
class Host:
    """What an attempt may look for on the host.

    Attributes:
        file: Holds a secret of the server; everybody on the host may read and write it.
        port: Something listens there, on the host's loopback.
        secret: What is in the file, and in its name.
    """

    file: Path
    port: int
    secret: bytes

    def lay(self) -> None:
        """Puts the file there as it has to be found again."""
        self.file.write_bytes(self.secret)
        # Only the sandbox may be in the way of an attempt.
        self.file.chmod(FOR_ALL)
        self.file.parent.chmod(0o777)

    @property
    def untouched(self) -> bool:
        """Whether the file is as it was laid, and alone in its folder."""
        try:
            same = self.file.read_bytes() == self.secret and stat.S_IMODE(self.file.stat().st_mode) == FOR_ALL
        except OSError:
            return False
        return same and [entry.name for entry in self.file.parent.iterdir()] == [self.file.name]


@contextmanager
def bait() -> Iterator[Host]:
    """Puts up what attempts are after."""
    os.environ[CANARY] = secrets.token_hex(8)
    try:
        with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            secret = secrets.token_hex(16)
            # In the name too, so that a list of the folder tells it.
            host = Host(Path(folder) / f"secret-{secret}", server.getsockname()[1], secret.encode())
            host.lay()
            yield host
    finally:
        del os.environ[CANARY]
