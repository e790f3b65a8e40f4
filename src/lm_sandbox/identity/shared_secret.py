"""A secret of a server that all of its processes share, kept in a file that only its user can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

BYTES = 32


def shared_secret(path: Path) -> bytes:
    """Returns the secret; whoever comes first makes it."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(BYTES))
        # A link, as a rename would put another one in the place of a secret that is there already.
        with suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
    return path.read_bytes()
