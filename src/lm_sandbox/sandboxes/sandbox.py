"""A sandbox as callers know it, and what they may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lm_sandbox.sandboxes.driver import Enforced, Limits, SandboxId
from lm_sandbox.sandboxes.egress import NOTHING, EgressPolicy


class SandboxState(StrEnum):
    """Where a sandbox is in its life."""

    CREATING = "creating"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a caller asks for; what is left out is the server's default, which is also the most.

    Attributes:
        name: For people.
        env: Variables of every command.
        metadata: The caller's own, kept and given back.
        limits: None takes the server's.
        egress: What it may reach.
    """

    name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    egress: EgressPolicy = NOTHING


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A command as a caller asks for it: a string is run by bash, a list as it is."""

    command: str | tuple[str, ...]
    cwd: str = "/workspace"
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | None = None
    timeout_s: float | None = None


@dataclass(slots=True)
class Sandbox:
    """A sandbox as the service keeps it.

    Attributes:
        id: Names it.
        owner: The id of the principal that made it.
        name: For people.
        metadata: The caller's own.
        created_at: When it was made.
        state: Where it is in its life.
        enforced: What holds it; None while it is made.
        last_active_at: When it was last used.
        active: Commands that run now.
        idle_since: The service's clock at the last use.
    """

    id: SandboxId
    owner: str
    name: str
    metadata: Mapping[str, str]
    created_at: datetime
    last_active_at: datetime
    idle_since: float
    state: SandboxState = SandboxState.CREATING
    enforced: Enforced | None = None
    active: int = 0
