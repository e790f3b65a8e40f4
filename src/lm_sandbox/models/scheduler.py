"""Which models make room for another: a pure policy."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lm_sandbox.errors import DoesNotFit
from lm_sandbox.models.placement import Plan


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model.

    Attributes:
        name: Which.
        uses: Bytes by device.
        movable: Whether it may be unloaded: nobody uses it and it is not pinned.
        idle_since: On the engine's clock.
    """

    name: str
    uses: Mapping[str, int]
    movable: bool
    idle_since: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan, and who is unloaded first, the longest unused first."""

    plan: Plan
    evict: tuple[str, ...] = ()


def make_room(residents: Sequence[Resident], place: Callable[[Mapping[str, int]], Plan]) -> Decision:
    """Unloads as few models as bring as many layers onto GPUs as unloading all that may go would.

    Args:
        residents: What is loaded.
        place: Plans with so many bytes more on each device.

    Raises:
        DoesNotFit: it does not fit, even so.
    """
    movable = sorted((r for r in residents if r.movable), key=lambda r: r.idle_since)
    best = place(uses_of(movable))
    for count in range(len(movable)):
        try:
            found = place(uses_of(movable[:count]))
        except DoesNotFit:
            continue
        if found.gpu_layers == best.gpu_layers:
            return Decision(found, tuple(r.name for r in movable[:count]))
    return Decision(best, tuple(r.name for r in movable))


def uses_of(residents: Sequence[Resident]) -> dict[str, int]:
    """Adds up what these models use, by device."""
    total: Counter[str] = Counter()
    for resident in residents:
        total.update(resident.uses)
    return dict(total)
