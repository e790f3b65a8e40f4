"""The tools that run commands. One that takes long goes on by itself, and can be followed."""

import anyio

from lm_sandbox.agent.tools import describe_end
from lm_sandbox.sandboxes.command_book import Command
from lm_sandbox.sandboxes.sandbox import Sandbox
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.surfaces.mcp.arguments import Bash, BashOutput, BashStop
from lm_sandbox.surfaces.mcp.caller import Call
from lm_sandbox.surfaces.mcp.excerpts import both_ends, part
from lm_sandbox.surfaces.mcp.progress import reported
from lm_sandbox.surfaces.mcp.sandboxes import CallSandboxes
from lm_sandbox.surfaces.mcp.told import Told

REPLACED = (
    "[This is a new sandbox: the earlier one was deleted, because it was not used for too long or died. "
    "Its files are gone.]\n"
)


class CommandTools:
    """`bash`, `bash_output` and `bash_stop`.

    Args:
        service: Runs commands, with the caller's rights.
        sandboxes: Tells which sandbox a call is for.
        most_output: Bytes of output that one answer shows.
    """

    def __init__(self, service: SandboxService, sandboxes: CallSandboxes, most_output: int) -> None:
        self._service = service
        self._sandboxes = sandboxes
        self._most_output = most_output

    async def bash(self, call: Call, arguments: Bash) -> Told:
        """Runs a command; cancelling the call ends it with all that it started."""
        new = arguments.to_new()
        sandbox, replaced = await self._sandboxes.use(call, arguments.sandbox)
        command = await self._service.start(call.principal, sandbox.id, new)
        note = REPLACED if replaced else ""
        if arguments.background:
            return Told(
                f"{note}[running in the background as {command.id}; bash_output shows what it writes]",
                _details(sandbox, command),
            )
        await _attend(command, call, arguments.wait_s)
        return await self._told(sandbox, command, note)

    async def output(self, call: Call, arguments: BashOutput) -> Told:
        """Shows what a command has written, and how it stands."""
        sandbox, command = await self._find(call, arguments.sandbox, arguments.command_id)
        if arguments.wait_s:
            async with reported(command.log, call.report):
                await command.wait(arguments.wait_s)
        if arguments.offset is None:
            return await self._told(sandbox, command)
        text, after = await part(command.log, arguments.offset, self._most_output)
        left = command.log.total - after
        more = f"\n[{left} more bytes; go on with offset {after}]" if left else ""
        status = _status(command) or "ended"
        return Told(f"[{status}; next offset {after}]\n{text}{more}", _details(sandbox, command))

    async def stop(self, call: Call, arguments: BashStop) -> Told:
        """Ends a command with all that it started."""
        sandbox, command = await self._find(call, arguments.sandbox, arguments.command_id)
        await command.end()
        return await self._told(sandbox, command)

    async def _find(self, call: Call, named: str | None, command_id: str) -> tuple[Sandbox, Command]:
        sandbox = await self._sandboxes.existing(call, named)
        return sandbox, self._service.command(call.principal, sandbox.id, command_id)

    async def _told(self, sandbox: Sandbox, command: Command, note: str = "") -> Told:
        if command.failure is not None:
            raise command.failure
        output = (await both_ends(command.log, self._most_output, command.id)).rstrip("\n")
        status = _status(command)
        if status is None:
            text = output or "[no output]"
        else:
            text = f"[{status}]\n{output}" if output else f"[{status}]"
        return Told(note + text, _details(sandbox, command))


async def _attend(command: Command, call: Call, wait_s: float) -> None:
    try:
        async with reported(command.log, call.report):
            await command.wait(wait_s)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await command.end()
        raise


def _status(command: Command) -> str | None:
    if command.running:
        return (
            f"still running as {command.id}; bash_output with offset {command.log.total} shows what comes, "
            "bash_stop ends it"
        )
    if command.result is None:
        return "failed" if command.failure else "ended"
    return describe_end(command.result, command.request.timeout_s)


def _details(sandbox: Sandbox, command: Command) -> dict[str, object]:
    details: dict[str, object] = {
        "sandbox": sandbox.id,
        "command": command.id,
        "running": command.running,
        "output_bytes": command.log.total,
    }
    if command.result is not None:
        result = command.result
        details |= {
            "exit_code": result.exit_code,
            "signal": result.signal,
            "timed_out": result.timed_out,
            "limits": [limit.value for limit in result.limits],
            "duration_ms": result.duration_ms,
        }
    return details
