"""All the sandboxes of one server, and what they are made, kept and counted with."""

from collections.abc import Callable
from dataclasses import dataclass

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.gpus import Gpus
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.registry import SandboxRegistry
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.witness import Witness


@dataclass(frozen=True, slots=True)
class Fleet:
    """What everything that deals with sandboxes of a server shares.

    Attributes:
        driver: What makes them.
        settings: Defaults and bounds.
        registry: Which there are.
        records: What has to be known of them when this server was killed.
        networks: Their ways out.
        witness: Tells of what happens in them.
        shares: How much each principal takes.
        gpus: Lent to those that ask.
        clock: Seconds that only go up.
    """

    driver: SandboxDriver
    settings: SandboxSettings
    registry: SandboxRegistry
    records: SandboxStore
    networks: Networks
    witness: Witness
    shares: Shares
    gpus: Gpus
    clock: Callable[[], float]
