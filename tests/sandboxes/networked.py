"""Sandboxes with a way out, for tests: real ones, their names resolved by a table."""

import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from anyio import TemporaryDirectory

from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.identity.shares import Shares
from lm_sandbox.sandboxes.commands import CommandResult
from lm_sandbox.sandboxes.driver import SandboxDriver
from lm_sandbox.sandboxes.drivers.bubblewrap.driver import BubblewrapDriver
from lm_sandbox.sandboxes.egress import EgressMode, EgressPolicy
from lm_sandbox.sandboxes.events import Event, EventKind
from lm_sandbox.sandboxes.hosts import Address
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.network import Networks
from lm_sandbox.sandboxes.sandbox import Change, NewCommand, NewSandbox
from lm_sandbox.sandboxes.sandbox_store import SandboxStore
from lm_sandbox.sandboxes.secrets import DomainSecret
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.sandboxes.snapshot_store import SnapshotStore
from lm_sandbox.sandboxes.snapshots import Snapshots
from lm_sandbox.storage.database import Database

OWNER = Principal("anna", "Anna", frozenset({Scope.SANDBOXES, Scope.MODELS}))
SMALL = Limits(memory_bytes=256 * MIB, disk_bytes=32 * MIB, pids=64, open_files=1024)
low_ports = pytest.mark.skipif(os.geteuid() != 0, reason="needs a server on port 80 or 443 of the host")


@dataclass
class Table:
    """A resolver. A list of answers is gone through, one for each look-up; the last stays."""

    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, name: str) -> list[Address]:
        self.asked.append(name)
        answers = self.names.get(name, [])
        text = answers.pop(0) if len(answers) > 1 else "".join(answers)
        return [ipaddress.ip_address(one) for one in text.split(",") if one]


@dataclass
class Box:
    """One sandbox and what it is asked to do."""

    service: SandboxService
    id: str
    table: Table
    snapshots: Snapshots

    async def run(self, command: str, stdin: bytes | None = None) -> CommandResult:
        return await self.service.run(OWNER, self.id, NewCommand(command, stdin=stdin, timeout_s=60.0))

    async def out(self, command: str, **env: str) -> str:
        result = await self.service.run(OWNER, self.id, NewCommand(command, env=env, timeout_s=60.0))
        return (result.stdout + result.stderr).decode(errors="replace")

    async def allow(self, *rules: str, mode: EgressMode = EgressMode.ALLOWLIST) -> None:
        await self.service.change(OWNER, self.id, Change(egress=EgressPolicy.parse(mode, rules)))

    def refusals(self) -> list[Event]:
        events = self.service.events(OWNER, self.id).after(0, 1000)
        return [event for event in events if event.kind is EventKind.EGRESS_DENIED]


@asynccontextmanager
async def box(
    *rules: str,
    mode: EgressMode = EgressMode.ALLOWLIST,
    driver: SandboxDriver | None = None,
    new: NewSandbox | None = None,
    secrets: tuple[DomainSecret, ...] = (),
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[Box]:
    table = Table()
    driver = driver or BubblewrapDriver()
    networks = Networks(driver, resolve=table, trust=trust)
    async with (
        TemporaryDirectory() as folder,
        Database(Path(folder) / "test.db") as database,
        SnapshotStore(database, Path(folder) / "snapshots", 512 * MIB) as snapshots,
        SandboxService(
            driver,
            SandboxSettings(),
            snapshots,
            SandboxStore(database),
            Path(folder) / "spool",
            networks=networks,
        ) as service,
    ):
        wanted = replace(
            new or NewSandbox(limits=SMALL), egress=EgressPolicy.parse(mode, rules), secrets=secrets
        )
        made = await service.create(OWNER, wanted)
        yield Box(service, made.id, table, Snapshots(service, driver, snapshots, Shares()))
