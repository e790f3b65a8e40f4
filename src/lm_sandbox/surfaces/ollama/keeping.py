"""Who may say how long a model stays loaded."""

from dataclasses import dataclass, replace

from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.surfaces.generation import Prompt
from lm_sandbox.surfaces.ollama.keep_alive import keep_alive_s


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a client wants, and what it gets: only an admin changes what is loaded.

    Attributes:
        wanted_s: In seconds, infinity for ever; None where nothing is wanted.
        granted_s: Likewise.
    """

    wanted_s: float | None
    granted_s: float | None

    @property
    def left_out(self) -> list[str]:
        """Names it where it is not granted."""
        return ["keep_alive"] if self.granted_s != self.wanted_s else []

    def of(self, prompt: Prompt) -> Prompt:
        """Returns the prompt with it."""
        return replace(prompt, keep_alive_s=self.granted_s)


def kept(caller: Principal, written: float | str | None) -> Keeping:
    """Reads a `keep_alive`.

    Raises:
        Invalid: it is no duration.
    """
    wanted = keep_alive_s(written)
    return Keeping(wanted, wanted if Scope.ADMIN in caller.scopes else None)
