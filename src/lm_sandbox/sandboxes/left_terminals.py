"""The terminals that a killed server has left."""

from collections.abc import Callable

from lm_sandbox.errors import Unavailable
from lm_sandbox.sandboxes.driver import Adopted, SandboxDriver, SandboxId
from lm_sandbox.sandboxes.inside.scroll_back import Recording
from lm_sandbox.sandboxes.terminal_book import LiveTerminal
from lm_sandbox.sandboxes.terminal_notes import TerminalNotes

PREFIX = "term_"
# After a terminal's name, under which its scroll-back is kept.
NOTES = ".notes"
ENDED_ALONE = "The terminal ended while no server was there to see how."


async def keep(driver: SandboxDriver, sandbox: SandboxId, terminal: LiveTerminal) -> None:
    """Keeps what has to be known of a terminal when this server is killed.

    Raises:
        DriverUnavailable: the host refused.
    """
    await driver.keep(sandbox, terminal.id, terminal.scroll_back.file)
    await driver.keep(sandbox, terminal.id + NOTES, terminal.notes.notebook.file)


async def forget(driver: SandboxDriver, sandbox: SandboxId, terminal_id: str) -> None:
    """Keeps it no longer."""
    await driver.keep(sandbox, terminal_id, None)
    await driver.keep(sandbox, terminal_id + NOTES, None)


async def left_terminals(left: Adopted, touch: Callable[[], None]) -> list[LiveTerminal]:
    """Returns the terminals of a sandbox, oldest first; programs of which nothing is known are ended."""
    unknown = dict(left.terminals)
    found = []
    for name, file in left.files.items():
        if name.startswith(PREFIX) and not name.endswith(NOTES) and name + NOTES in left.files:
            try:
                notes = TerminalNotes.load(name, left.files[name + NOTES])
                recording = Recording.load(file)
            except ValueError:
                continue  # The server was killed before it had opened it.
            recording.come_back()
            terminal = LiveTerminal(name, notes, unknown.pop(name, None), recording, touch)
            if terminal.terminal is None and terminal.exited is None:
                terminal.failure = Unavailable(ENDED_ALONE)
            found.append(terminal)
    for program in unknown.values():
        await program.kill()
        await program.aclose()
    return sorted(found, key=lambda one: one.started_at)
