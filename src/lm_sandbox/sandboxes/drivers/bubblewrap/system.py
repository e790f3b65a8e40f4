"""What a sandbox's root file system is made of, where it is not the host's own, read-only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# The name of the image that is the host's own system.
HOST = "host"
# Mounted on in every sandbox, with what that is in, and their modes.
FOLDERS = {
    "dev": 0o755,
    "home": 0o755,
    "home/sandbox": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "tmp": 0o1777,
    "var": 0o755,
    "var/tmp": 0o1777,
    "workspace": 0o755,
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """Read-only layers with one on top that is the sandbox's own.

    Attributes:
        at: Where it is, inside.
        lowers: The layers' folders on the host, the upper ones first.
        folders: What else is mounted on in it, with what that is in, and their modes.
    """

    at: str
    lowers: tuple[str, ...]
    folders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class System:
    """A root file system that a sandbox can write to.

    Attributes:
        label: Tells apart what written layers are on top of; no path of the host.
        overlays: What is mounted, in this order.
        env: Variables of every command.
    """

    label: str
    overlays: tuple[Overlay, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def order(self, first_id: int, ids: int) -> dict[str, Any]:
        """Writes it for the launcher."""
        overlays = [{"lowers": list(one.lowers), "folders": dict(one.folders)} for one in self.overlays]
        return {"overlays": overlays, "first_id": first_id, "ids": ids}

    def with_folders(self, paths: Collection[str]) -> "System":
        """Adds folders that are mounted on, each to the layers that it is in; without a leading slash."""
        if not paths:
            return self
        found = {one.at: dict(one.folders) for one in self.overlays}
        for path in paths:
            at = max((at for at in found if _is_in(path, at)), key=len, default=None)
            if at is not None:
                found[at].setdefault(f"/{path}".removeprefix(at).lstrip("/"), 0o755)
        return replace(self, overlays=tuple(replace(one, folders=found[one.at]) for one in self.overlays))

    @classmethod
    def read(cls, told: dict[str, Any]) -> "System":
        """Reads what `dataclasses.asdict` has made of one."""
        overlays = tuple(Overlay(one["at"], tuple(one["lowers"]), one["folders"]) for one in told["overlays"])
        return cls(told["label"], overlays, told["env"])


def _is_in(path: str, at: str) -> bool:
    return f"/{path}".startswith(f"{at.rstrip('/')}/")
