"""The key that this machine's own command line uses, kept in a file that only its user can read."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import Invalid, KeyExpired, KeyRevoked, Unauthenticated
from lm_sandbox.identity.principals import Scope

if TYPE_CHECKING:
    # Programs that only read the key want no database.
    from lm_sandbox.identity.keys import KeyStore

ADMIN = frozenset({Scope.ADMIN})


@dataclass(frozen=True, slots=True)
class LocalKey:
    """The file with the local key.

    Args:
        path: Where it is kept, mode 0600.
    """

    path: Path

    async def ensure(self, keys: "KeyStore", configured: str | None = None) -> str:
        """Returns a key that works, making the first one where there is none.

        A configured key is taken as it is and never written to the file.

        Raises:
            Invalid: the configured key is too short, or was revoked.
        """
        token = configured or self.read()
        refusal = await _refusal(keys, token) if token is not None else None
        if token is not None and refusal is None:
            return token
        if configured is not None and isinstance(refusal, KeyExpired | KeyRevoked):
            raise Invalid("The configured API key works no more; set another one.", field="api_key")
        issued = await keys.issue("local", ADMIN, token=configured)
        if configured is None:
            self._write(issued.token)
        return issued.token

    def read(self) -> str | None:
        """Reads the key, or None where no server has been started yet."""
        try:
            return self.path.read_text().strip() or None
        except FileNotFoundError:
            return None

    def first_showing(self) -> bool:
        """Whether the key has never been shown; asking counts as showing it."""
        try:
            self._shown.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        return True

    @property
    def _shown(self) -> Path:
        return self.path.with_name(self.path.name + ".shown")

    def _write(self, token: str) -> None:
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        new.replace(self.path)
        self._shown.unlink(missing_ok=True)


async def _refusal(keys: "KeyStore", token: str) -> Unauthenticated | None:
    try:
        await keys.authenticate(token)
    except Unauthenticated as error:
        return error
    return None


def local_key(settings: Settings) -> LocalKey:
    """Returns where this machine's own key is kept."""
    return LocalKey(settings.data_dir / "api-key")
