"""How much a principal may take."""

from dataclasses import asdict, dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one principal may take; None is what the server gives all, 0 is as much as there is.

    Attributes:
        requests_per_minute: Requests of any kind.
        tokens_per_minute: Tokens that models read and wrote.
        sandboxes: Sandboxes alive at once.
        commands: Commands at work at once, in all its sandboxes.
        runs: Answers of models being made at once.
        sandbox_seconds_per_day: Seconds that its sandboxes were alive, together.
        stored_mib: Disk for its uploaded files and its snapshots, in MiB.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    sandboxes: int | None = None
    commands: int | None = None
    runs: int | None = None
    sandbox_seconds_per_day: int | None = None
    stored_mib: int | None = None

    def over(self, default: Self) -> Self:
        """Fills what is left out from the default."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        return type(self)(**(asdict(default) | own))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What there are quotas for."""
        return tuple(field.name for field in fields(cls))


AS_THE_SERVER = Quotas()
