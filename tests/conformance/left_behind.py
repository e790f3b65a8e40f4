"""A server's driver in a process of its own, which is killed in the middle of its work.

usage: python -m tests.conformance.left_behind DRIVER FOLDER ENGINE SECONDS SCENE MARK
"""

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from lm_sandbox.sandboxes.driver import RunState, SandboxDriver, SandboxId, SandboxSpec
from lm_sandbox.sandboxes.inside.scroll_back import Recording
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.mounts import DiskMount
from lm_sandbox.sandboxes.process import CommandSpec
from lm_sandbox.sandboxes.terminal import TerminalSpec
from tests.drivers import driver_of

BOX = SandboxId("sb_left")
SPEC = SandboxSpec(
    limits=Limits(memory_bytes=96 * MIB, disk_bytes=32 * MIB, pids=64, open_files=128), env={"HELLO": "you"}
)
SCROLL_BACK_BYTES = 64 * 1024
SHOWN = "term"
# In the folder of the server: what its sandbox has mounted, where it is there.
VOLUME = "vol_left"


@dataclass(frozen=True, slots=True)
class Marks:
    """How long each is to sleep, by which those that are still there are known."""

    first: int

    @property
    def waiting(self) -> int:
        return self.first

    @property
    def left(self) -> int:
        return self.first + 1

    @property
    def tree(self) -> int:
        return self.first + 2

    @property
    def flooded(self) -> int:
        return self.first + 3


def bash(text: str, *, name: str | None = None, stdin: bool = False) -> CommandSpec:
    return CommandSpec(("/bin/bash", "-c", text), name=name, stdin=stdin)


async def ended(driver: SandboxDriver, text: str) -> None:
    process = await driver.spawn(BOX, bash(text))
    async for _ in process.stdout:
        pass
    await process.wait()
    await process.aclose()


async def commands(driver: SandboxDriver, marks: Marks) -> None:
    await ended(driver, f"echo kept > file; (setsid sleep {marks.left} > /dev/null 2>&1 &)")
    counting = "for i in $(seq 1 200); do echo $i; echo e$i >&2; sleep 0.01; done; exit 5"
    await driver.spawn(BOX, bash(counting, name="counter"))
    reading = "while read x; do echo got $x; done; echo over"
    await driver.spawn(BOX, bash(reading, name="reader", stdin=True))
    await driver.spawn(
        BOX, bash(f"trap 'exit 7' TERM; setsid sleep {marks.tree} > /dev/null 2>&1 & wait", name="tree")
    )
    waiting = await driver.spawn(BOX, bash(f"setsid sleep {marks.waiting} & echo on; sleep {marks.waiting}"))
    await waiting.stdout.receive()


async def paused(driver: SandboxDriver, marks: Marks) -> None:
    del marks
    counter = await driver.spawn(BOX, bash("while :; do echo x; sleep 0.01; done", name="counter"))
    await counter.stdout.receive()
    await driver.set_state(BOX, RunState.PAUSED)


async def terminal(driver: SandboxDriver, marks: Marks) -> None:
    recording = Recording.new(SCROLL_BACK_BYTES)
    await driver.keep(BOX, SHOWN, recording.file)
    script = f"echo before; read x; seq 1 200000; echo last $x; exec sleep {marks.flooded}"
    opened = await driver.open_terminal(BOX, TerminalSpec(("/bin/bash", "-c", script), name=SHOWN))
    while b"before" not in recording.replay():
        recording.write(await opened.output.receive())
    await opened.input.send(b"word\n")


async def mounted(driver: SandboxDriver, marks: Marks) -> None:
    del marks
    await ended(driver, "echo kept > /data/a")


SCENES: dict[str, Callable[[SandboxDriver, Marks], Awaitable[None]]] = {
    "commands": commands,
    "paused": paused,
    "terminal": terminal,
    "mounted": mounted,
}


async def main(*arguments: str) -> None:
    name, folder, engine, seconds, scene, mark = arguments
    driver = driver_of(name, Path(folder), Path(engine) if engine else None, float(seconds))
    disk = Path(folder) / VOLUME
    mounts = (DiskMount(disk, "/data", read_only=False),) if disk.exists() else ()
    async with driver:
        await driver.create(BOX, replace(SPEC, mounts=mounts))
        await SCENES[scene](driver, Marks(int(mark)))
        os.write(1, b"ready\n")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
