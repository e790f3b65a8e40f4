"""The tool loop: the model asks for a command, a sandbox runs it, the model goes on from there.

It knows no HTTP, no driver and no engine: it reaches a model by a lease and a sandbox by the
service, with the caller's rights.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import anyio

from lm_sandbox.agent.events import (
    AnswerDelta,
    CallRejected,
    CommandFinished,
    CommandOutput,
    CommandProposed,
    CommandStarted,
    EndReason,
    Event,
    FunctionCalled,
    HeardEnough,
    ReasoningDelta,
    RunResult,
    TurnFinished,
)
from lm_sandbox.agent.request import Consent, RunRequest, Shell
from lm_sandbox.agent.tools import (
    BadToolCall,
    BashCall,
    bash_tool,
    describe_result,
    output_of,
    parse_bash_call,
)
from lm_sandbox.agent.witness import RunWitness, ToolSeen
from lm_sandbox.config.agent import AgentSettings
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.identity.shares import Shares
from lm_sandbox.models.chat import ChatDelta, ChatMessage, ToolCall, Usage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.output import OutputChunk
from lm_sandbox.sandboxes.sandbox import NewCommand
from lm_sandbox.sandboxes.service import SandboxService
from lm_sandbox.telemetry.happenings import Tell, unheard

Emit = Callable[[Event], Awaitable[None]]
NO_TOOLS = "There are no tools in this conversation."
NO_MORE = "[the limit of {count} commands is reached; answer with what you have]"
KEPT_OUTPUT = "/tmp/output-{number}.txt"  # noqa: S108 - in the sandbox, which is its caller's alone


class AgentLoop:
    """Runs conversations in which the model may use bash.

    Args:
        models: Where models come from.
        chat: Talks to them.
        sandboxes: Where commands run.
        settings: Bounds of every run.
        shares: How much each principal takes.
        tell: Hears of runs and of what is called in them.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        models: ModelRegistry,
        chat: ChatClient,
        sandboxes: SandboxService,
        settings: AgentSettings,
        shares: Shares | None = None,
        *,
        tell: Tell = unheard,
    ) -> None:
        self.models = models
        self.chat = chat
        self.sandboxes = sandboxes
        self.settings = settings
        self.shares = shares or Shares()
        self.witness = RunWitness(tell)

    async def run(self, principal: Principal, request: RunRequest, emit: Emit) -> RunResult:
        """Runs until the model answers without a command, or a bound is reached.

        Args:
            principal: Who runs it; commands are run with their rights.
            request: What to start from.
            emit: Gets every event in order; the run waits while it does, and ends where it raises
                HeardEnough.

        Raises:
            ModelNotFound, ModelFailed, EngineUnavailable, UpstreamError: the model does not answer.
            SandboxNotFound, Gone, SandboxFailed: the sandbox is not there.
            QuotaReached: the principal has as many at work, or has taken as many tokens, as it may.
        """
        run = _Run(self, principal, request, emit)
        with self.shares.run(principal), self.witness.run(principal, request.model) as seen:
            seen.result = run.result(EndReason.TIME_LIMIT)
            with anyio.move_on_after(self.settings.max_wall_s):
                try:
                    seen.result = await run.to_the_end()
                except HeardEnough:
                    seen.result = run.result(EndReason.HEARD_ENOUGH)
            return seen.result


class _Run:
    def __init__(self, loop: AgentLoop, principal: Principal, request: RunRequest, emit: Emit) -> None:
        settings = loop.settings
        self._models = loop.models
        self._chat = loop.chat
        self._sandboxes = loop.sandboxes
        self._shares = loop.shares
        self._witness = loop.witness
        self._principal = principal
        self._request = request
        self._emit = emit
        self._messages = list(request.messages)
        self._tools = [*([bash_tool(request.shell.network)] if request.shell else []), *request.functions]
        self._functions = {_name(function) for function in request.functions}
        self._usage = Usage()
        self._steps = 0
        self._commands = 0
        self._refused = False
        self._unforced = False
        self._last_failure: tuple[str, str, str] | None = None
        self._max_steps = min(request.max_steps or settings.max_steps, settings.max_steps)
        most = settings.max_commands
        self._max_commands = min(most if request.max_commands is None else request.max_commands, most)
        self._timeout_s = min(
            request.command_timeout_s or settings.command_timeout_s, settings.command_timeout_s
        )
        self._max_chars = min(
            request.max_output_chars or settings.max_tool_output_chars,
            settings.max_tool_output_chars,
        )

    async def to_the_end(self) -> RunResult:
        ended = await self._carry_out(self._request.agreed, agreed=True)
        while ended is None and self._steps < self._max_steps:
            self._steps += 1
            text, last = await self._turn()
            if not last.tool_calls:
                cut = last.finish_reason == "length"
                return self.result(EndReason.TOKEN_LIMIT if cut else EndReason.ANSWERED)
            asked = last.tool_calls if self._request.parallel_calls else last.tool_calls[:1]
            self._messages.append(ChatMessage("assistant", text or None, asked))
            ended = await self._carry_out(asked)
            if ended is None and self._tokens_left == 0:
                ended = EndReason.TOKEN_LIMIT
        return self.result(ended or EndReason.STEP_LIMIT)

    def result(self, reason: EndReason) -> RunResult:
        return RunResult(reason, self._usage, self._steps, unforced=self._unforced)

    @property
    def _tokens_left(self) -> int | None:
        most = self._request.max_tokens
        return None if most is None else max(0, most - self._usage.completion_tokens)

    async def _turn(self) -> tuple[str, ChatDelta]:
        text: list[str] = []
        last, usage = ChatDelta(), Usage()
        await self._shares.check_tokens(self._principal)
        try:
            # For a turn only: while a command runs, others have the model.
            async with (
                self._models.lease(self._request.model, self._principal.id) as lease,
                aclosing(
                    self._chat.stream_chat(
                        lease, self._messages, tools=self._tools, sampling=self._sampling()
                    )
                ) as deltas,
            ):
                async for last in deltas:
                    usage = last.usage or Usage(usage.prompt_tokens, usage.completion_tokens + 1)
                    text.append(last.content)
                    await self._said(last)
        finally:
            await self._count(usage)
        self._unforced |= last.unforced
        await self._emit(TurnFinished(last.usage))
        return "".join(text), last

    async def _said(self, delta: ChatDelta) -> None:
        if delta.reasoning:
            await self._emit(ReasoningDelta(delta.reasoning))
        if delta.content:
            await self._emit(AnswerDelta(delta.content))

    async def _count(self, usage: Usage) -> None:
        """Counts what a turn took, also of one that was broken off."""
        self._usage += usage
        with anyio.CancelScope(shield=True):
            await self._shares.charge_tokens(self._principal, usage.prompt_tokens + usage.completion_tokens)

    def _sampling(self) -> dict[str, object]:
        sampling = dict(self._request.sampling)
        if (left := self._tokens_left) is not None:
            sampling["max_tokens"] = left
        if self._tools and self._request.tool_choice is not None and self._steps == 1:
            sampling["tool_choice"] = self._request.tool_choice
        if self._tools and not self._request.parallel_calls:
            sampling["parallel_tool_calls"] = False
        return sampling

    async def _carry_out(self, wanted: Sequence[ToolCall], *, agreed: bool = False) -> EndReason | None:
        """Carries calls out in their order; tells why the run ends with them, if it does."""
        ended: EndReason | None = None
        for call in wanted:
            if call.name in self._functions:
                await self._emit(FunctionCalled(call.id, call.name, call.arguments))
                ended = EndReason.CALLERS_TURN
                continue
            with self._witness.tool(self._principal, call) as seen:
                told, ending = await self._call(call, seen, agreed=agreed)
            if ending is EndReason.CALLERS_TURN:
                ended = ending
                continue
            self._messages.append(ChatMessage("tool", told, tool_call_id=call.id))
            if ending is not None:
                return ending
        return ended

    async def _call(self, call: ToolCall, seen: ToolSeen, *, agreed: bool) -> tuple[str, EndReason | None]:
        shell = self._request.shell
        seen.outcome = "rejected"
        if shell is None:
            return await self._reject(call, NO_TOOLS)
        try:
            asked = parse_bash_call(call.name, call.arguments)
        except BadToolCall as error:
            return await self._reject(call, str(error))
        if shell.consent is not Consent.GIVEN and not agreed:
            seen.outcome = "proposed"
            await self._emit(CommandProposed(call.id, asked.command, asked.timeout_s, shell.consent))
            return "", EndReason.CALLERS_TURN
        if self._commands >= self._max_commands:
            return await self._refuse(call)
        self._commands += 1
        told, failed = await self._run(call, asked, shell)
        seen.outcome = "failed" if failed else "ok"
        return told, EndReason.REPEATED_FAILURE if self._fails_again(call, told, failed=failed) else None

    async def _run(self, call: ToolCall, asked: BashCall, shell: Shell) -> tuple[str, bool]:
        async def sink(chunk: OutputChunk) -> None:
            await self._emit(CommandOutput(call.id, chunk))

        timeout_s = min(asked.timeout_s or self._timeout_s, self._timeout_s)
        await self._emit(CommandStarted(call.id, asked.command, shell.sandbox_id))
        command = NewCommand(asked.command, timeout_s=timeout_s)
        result = await self._sandboxes.run(self._principal, shell.sandbox_id, command, sink)
        output = output_of(result)
        kept_in = await self._keep(output, shell) if len(output) > self._max_chars else ""
        told = describe_result(result, timeout_s, self._max_chars, kept_in)
        await self._emit(CommandFinished(call.id, asked.command, result, told))
        return told, result.exit_code != 0

    async def _keep(self, output: str, shell: Shell) -> str:
        """Puts a long output where the model can look into it; tells where, or nothing."""
        path = KEPT_OUTPUT.format(number=self._commands)
        try:
            async with (
                self._sandboxes.files(self._principal, shell.sandbox_id) as files,
                files.write(file_path(path), None) as writer,
            ):
                await writer.write([output.encode(errors="replace")])
                await writer.commit()
        except LmSandboxError:
            return ""  # A full disk or a driver without files: the model has the cut output alone.
        return path

    async def _reject(self, call: ToolCall, told: str) -> tuple[str, EndReason | None]:
        await self._emit(CallRejected(call.id, told))
        again = self._fails_again(call, told, failed=True)
        return told, EndReason.REPEATED_FAILURE if again else None

    async def _refuse(self, call: ToolCall) -> tuple[str, EndReason | None]:
        """Tells the model once that there are no more commands; one that asks again is ended."""
        told = NO_MORE.format(count=self._max_commands)
        ended = EndReason.COMMAND_LIMIT if self._refused else None
        self._refused = True
        await self._emit(CallRejected(call.id, told))
        return told, ended

    def _fails_again(self, call: ToolCall, told: str, *, failed: bool) -> bool:
        failure = (call.name, call.arguments, told) if failed else None
        again = failure is not None and failure == self._last_failure
        self._last_failure = failure
        return again


def _name(function: Mapping[str, object]) -> str:
    described = function.get("function")
    return str(described.get("name")) if isinstance(described, Mapping) else ""
