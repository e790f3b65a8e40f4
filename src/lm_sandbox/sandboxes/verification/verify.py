"""Runs every attempt to break out against a driver and tells what came of it."""

import os
import platform
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lm_sandbox.errors import Unsupported
from lm_sandbox.sandboxes.commands import CommandRequest, CommandResult, run_command
from lm_sandbox.sandboxes.driver import Enforced, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.user import User
from lm_sandbox.sandboxes.verification.attempts import CANARY, MACHINE, PYTHON, THROUGH, Attempt, attempts_on
from lm_sandbox.sandboxes.verification.root_attempts import ROOT_ATTEMPTS

SPEC = SandboxSpec(limits=Limits(memory_bytes=192 * MIB, disk_bytes=32 * MIB, pids=64, open_files=128))
# What the root of a sandbox works on: its own copy of the host's system.
ROOT_SPEC = SandboxSpec(
    limits=Limits(memory_bytes=256 * MIB, disk_bytes=128 * MIB, pids=64, open_files=128), image="host"
)
ATTEMPT_S = 20.0
OUTPUT_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        attempt: What was tried.
        got_through: Whether it broke out.
        well: Whether the sandbox took commands afterwards.
        output: What the attempt wrote.
    """

    attempt: Attempt
    got_through: bool
    well: bool
    output: str

    @property
    def held(self) -> bool:
        """Whether the sandbox held."""
        return self.well and not self.got_through


@dataclass(frozen=True, slots=True)
class Host:
    """What an attempt may look for on the host.

    Attributes:
        file: Holds a secret of the server.
        port: Something listens there, on the host's loopback.
    """

    file: Path
    port: int


def can_verify() -> bool:
    """Whether the attempts know this machine's system calls."""
    return platform.machine() == MACHINE


@contextmanager
def bait() -> Iterator[Host]:
    """Puts up what attempts are after: a secret in the environment, one in a file, and an open port."""
    os.environ[CANARY] = secrets.token_hex(8)
    try:
        with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            file = Path(folder) / "secret"
            file.write_text("a secret of the server\n")
            yield Host(file, server.getsockname()[1])
    finally:
        del os.environ[CANARY]


@dataclass(frozen=True, slots=True)
class Round:
    """Attempts that are made in one sandbox.

    Attributes:
        spec: What the sandbox is made from.
        user: As whom they are made.
        attempts: What is tried.
    """

    spec: SandboxSpec
    user: User
    attempts: Sequence[Attempt]


def rounds_on(driver: str, *, images: bool) -> list[Round]:
    """Lists what is tried on a driver.

    Args:
        driver: Its name.
        images: Whether its sandboxes can be made of images of ours, and so have a root.
    """
    rounds = [Round(SPEC, User.SANDBOX, attempts_on(driver))]
    return [*rounds, Round(ROOT_SPEC, User.ROOT, ROOT_ATTEMPTS)] if images else rounds


class Verification:
    """One sandbox in which attempts are made.

    Args:
        driver: A driver that was started.
        host: What the attempts are after.
        sandbox: The id of a sandbox that is made for them.
        user: As whom they are made.
    """

    def __init__(
        self, driver: SandboxDriver, host: Host, sandbox: SandboxId, user: User = User.SANDBOX
    ) -> None:
        self._driver = driver
        self._user = user
        self._host = host
        self._sandbox = sandbox

    async def run(self, attempt: Attempt) -> Outcome:
        """Makes one attempt."""
        env = {"SERVER_FILE": str(self._host.file), "PORT": str(self._host.port)}
        tried = await self._command(attempt.script, env)
        after = await self._command("echo well", {})
        # Not in standard error: a shell shows there the script of what was killed.
        got_through = THROUGH.encode() in tried.stdout
        output = (tried.stdout + tried.stderr).decode(errors="replace")
        return Outcome(attempt, got_through, after.stdout == b"well\n", output)

    async def require_language(self) -> None:
        """Looks for what the attempts are written in, without which each would be in vain.

        Raises:
            Unsupported: the sandbox's image lacks it.
        """
        if (await self._command(f"{PYTHON} -c ''", {})).exit_code != 0:
            message = f"The attempts need {PYTHON}, which the image lacks; name another in sandbox.image."
            raise Unsupported(message)

    async def _command(self, script: str, env: dict[str, str]) -> CommandResult:
        request = CommandRequest(
            ("/bin/bash", "-c", script),
            timeout_s=ATTEMPT_S,
            max_output_bytes=OUTPUT_BYTES,
            output_limit_bytes=64 * MIB,
            env=env,
            user=self._user,
        )
        process = await self._driver.spawn(self._sandbox, request.spec())
        return await run_command("verify", process, request)


@asynccontextmanager
async def verification(
    driver: SandboxDriver, spec: SandboxSpec = SPEC, user: User = User.SANDBOX
) -> AsyncIterator[tuple[Verification, Enforced]]:
    """Makes a sandbox for attempts, and tells what holds it.

    Args:
        driver: A driver that was started.
        spec: What the sandbox is made from.
        user: As whom the attempts are made.

    Raises:
        DriverUnavailable: the host refused.
    """
    sandbox = SandboxId(f"sb_{secrets.token_hex(8)}")
    with bait() as host:
        enforced = await driver.create(sandbox, spec)
        try:
            yield Verification(driver, host, sandbox, user), enforced
        finally:
            await driver.destroy(sandbox)
