"""Who is calling, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum

from lm_sandbox.errors import Forbidden
from lm_sandbox.identity.quotas import AS_THE_SERVER, Quotas


class Scope(StrEnum):
    """What a key may be used for; `admin` includes the others."""

    MODELS = "models"
    SANDBOXES = "sandboxes"
    METRICS = "metrics"
    FILES = "files"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request.

    Attributes:
        id: Stable; what the caller owns is owned by this.
        name: For people.
        scopes: What the caller may do.
        quotas: How much the caller may take.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    quotas: Quotas = AS_THE_SERVER

    def require(self, scope: Scope) -> None:
        """Lets the call go on only with this scope.

        Raises:
            Forbidden: the principal has neither the scope nor `admin`.
        """
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise Forbidden(f"The scope {scope.value!r} is needed; use a key or a token that has it.")

    def owns(self, owner: str) -> bool:
        """Whether something of this owner may be seen; an admin sees all."""
        return owner == self.id or Scope.ADMIN in self.scopes
