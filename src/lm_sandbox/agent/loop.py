"""The tool loop: the model asks for a command, a sandbox runs it, the model goes on from there.

It knows no HTTP, no driver and no engine: it reaches a model by a lease and a sandbox by the
service, with the caller's rights.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from lm_sandbox.agent.events import (
    AnswerDelta,
    CallRejected,
    CommandFinished,
    CommandOutput,
    CommandStarted,
    EndReason,
    Event,
    ReasoningDelta,
    RunResult,
    TurnFinished,
)
from lm_sandbox.agent.tools import BASH_TOOL, BadToolCall, describe_result, parse_bash_call
from lm_sandbox.config import AgentSettings
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import ChatDelta, ChatMessage, ToolCall, Usage
from lm_sandbox.models.client import ChatClient
from lm_sandbox.models.registry import ModelRegistry
from lm_sandbox.sandboxes.output import OutputChunk
from lm_sandbox.sandboxes.sandbox import NewCommand
from lm_sandbox.sandboxes.service import SandboxService

Emit = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run starts from.

    Attributes:
        model: The model's name.
        messages: The conversation so far, ending with what the model should answer.
        sandbox_id: Where its commands run; without one the model gets no tool.
        sampling: Parameters for the model, by their OpenAI names.
        max_steps: Model turns; None takes the server's, which is also the most.
        command_timeout_s: Wall time of one command; likewise.
        max_output_chars: Characters of one output that the model sees; likewise.
    """

    model: str
    messages: Sequence[ChatMessage]
    sandbox_id: str | None
    sampling: Mapping[str, object] = field(default_factory=dict)
    max_steps: int | None = None
    command_timeout_s: float | None = None
    max_output_chars: int | None = None


class AgentLoop:
    """Runs conversations in which the model may use bash.

    Args:
        models: Where models come from.
        chat: Talks to them.
        sandboxes: Where commands run.
        settings: Bounds of every run.
    """

    def __init__(
        self,
        models: ModelRegistry,
        chat: ChatClient,
        sandboxes: SandboxService,
        settings: AgentSettings,
    ) -> None:
        self.models = models
        self.chat = chat
        self.sandboxes = sandboxes
        self.settings = settings

    async def run(self, principal: Principal, request: RunRequest, emit: Emit) -> RunResult:
        """Runs until the model answers without a command, or a bound is reached.

        Args:
            principal: Who runs it; commands are run with their rights.
            request: What to start from.
            emit: Gets every event in order; the run waits while it does.

        Raises:
            ModelNotFound, ModelFailed, EngineUnavailable, UpstreamError: the model does not answer.
            SandboxNotFound, Gone, SandboxFailed: the sandbox is not there.
        """
        run = _Run(self, principal, request, emit)
        with anyio.move_on_after(self.settings.max_wall_s):
            return await run.to_the_end()
        return run.result(EndReason.TIME_LIMIT)


class _Run:
    def __init__(self, loop: AgentLoop, principal: Principal, request: RunRequest, emit: Emit) -> None:
        settings = loop.settings
        self._models = loop.models
        self._chat = loop.chat
        self._sandboxes = loop.sandboxes
        self._principal = principal
        self._request = request
        self._emit = emit
        self._messages = list(request.messages)
        self._usage = Usage()
        self._steps = 0
        self._last_failure: tuple[str, str, str] | None = None
        self._max_steps = min(request.max_steps or settings.max_steps, settings.max_steps)
        self._timeout_s = min(
            request.command_timeout_s or settings.command_timeout_s, settings.command_timeout_s
        )
        self._max_chars = min(
            request.max_output_chars or settings.max_tool_output_chars,
            settings.max_tool_output_chars,
        )

    async def to_the_end(self) -> RunResult:
        while self._steps < self._max_steps:
            self._steps += 1
            text, last = await self._turn()
            if not last.tool_calls:
                cut = last.finish_reason == "length"
                return self.result(EndReason.TOKEN_LIMIT if cut else EndReason.ANSWERED)
            self._messages.append(ChatMessage("assistant", text or None, last.tool_calls))
            for call in last.tool_calls:
                told, failed = await self._call(call)
                self._messages.append(ChatMessage("tool", told, tool_call_id=call.id))
                if self._fails_again(call, told, failed=failed):
                    return self.result(EndReason.REPEATED_FAILURE)
        return self.result(EndReason.STEP_LIMIT)

    def result(self, reason: EndReason) -> RunResult:
        return RunResult(reason, self._usage, self._steps)

    async def _turn(self) -> tuple[str, ChatDelta]:
        text: list[str] = []
        last = ChatDelta()
        tools = [BASH_TOOL] if self._request.sandbox_id else []
        # For a turn only: while a command runs, others have the model.
        async with self._models.lease(self._request.model, self._principal.id) as lease:
            async for delta in self._chat.stream_chat(
                lease, self._messages, tools=tools, sampling=self._request.sampling
            ):
                if delta.reasoning:
                    await self._emit(ReasoningDelta(delta.reasoning))
                if delta.content:
                    text.append(delta.content)
                    await self._emit(AnswerDelta(delta.content))
                last = delta
        self._usage += last.usage or Usage()
        await self._emit(TurnFinished(last.usage))
        return "".join(text), last

    async def _call(self, call: ToolCall) -> tuple[str, bool]:
        sandbox_id = self._request.sandbox_id
        try:
            command = parse_bash_call(call.name, call.arguments)
        except BadToolCall as error:
            await self._emit(CallRejected(call.id, str(error)))
            return str(error), True
        if sandbox_id is None:
            told = "There are no tools in this conversation."
            await self._emit(CallRejected(call.id, told))
            return told, True

        async def sink(chunk: OutputChunk) -> None:
            await self._emit(CommandOutput(call.id, chunk))

        await self._emit(CommandStarted(call.id, command, sandbox_id))
        result = await self._sandboxes.run(
            self._principal,
            sandbox_id,
            NewCommand(command, timeout_s=self._timeout_s),
            sink,
        )
        told = describe_result(result, self._timeout_s, self._max_chars)
        await self._emit(CommandFinished(call.id, command, result, told))
        return told, result.exit_code != 0

    def _fails_again(self, call: ToolCall, told: str, *, failed: bool) -> bool:
        failure = (call.name, call.arguments, told) if failed else None
        again = failure is not None and failure == self._last_failure
        self._last_failure = failure
        return again
