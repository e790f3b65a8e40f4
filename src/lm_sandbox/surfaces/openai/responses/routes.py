"""POST /v1/responses, whole or as a stream."""

import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lm_sandbox.agent.events import EndReason, Event, RunResult
from lm_sandbox.agent.loop import RunRequest
from lm_sandbox.errors import LmSandboxError
from lm_sandbox.identity.principals import Principal
from lm_sandbox.models.chat import Usage
from lm_sandbox.sandboxes.sandbox import NewSandbox
from lm_sandbox.surfaces.deps import Deps, ModelCaller, Services
from lm_sandbox.surfaces.errors import failure_of, route_class
from lm_sandbox.surfaces.openai.errors import openai_error
from lm_sandbox.surfaces.openai.responses import items
from lm_sandbox.surfaces.openai.responses.schemas import ContainerReference, ResponseCreate
from lm_sandbox.surfaces.openai.responses.writer import ItemWriter, StreamEvent
from lm_sandbox.surfaces.streams import PushResponse, Write, sse, while_connected

ROUTER = APIRouter(tags=["openai"], route_class=route_class(openai_error))

LEFT_OUT_HEADER = "x-lm-sandbox-tools-left-out"

Tell = Callable[[StreamEvent], Awaitable[None]]


@ROUTER.post("/v1/responses", response_model=None)
async def create_response(
    body: ResponseCreate, request: Request, caller: ModelCaller, deps: Deps
) -> Response:
    """Runs the model; with `tools: [{"type": "shell"}]` it may run commands in a sandbox.

    `container_auto` (the default) makes a sandbox, `container_reference` takes an existing one.
    """
    body.refuse_what_changes_the_answer()
    run = await _prepare(body, caller, deps)
    response = _Response(body, run)
    answer: Response
    if body.stream:

        async def produce(write: Write) -> None:
            await response.run(deps, caller, _numbered(write))

        answer = PushResponse(produce)
    else:
        await while_connected(request, lambda: response.run(deps, caller, _nobody))
        if response.failed is not None:
            raise response.failed
        answer = JSONResponse(response.body())
    if body.left_out():
        answer.headers[LEFT_OUT_HEADER] = ", ".join(body.left_out())
    return answer


async def _prepare(body: ResponseCreate, caller: Principal, deps: Services) -> RunRequest:
    await deps.models.resolve(body.model)
    messages = body.messages()
    sampling = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
    }
    return RunRequest(
        model=body.model,
        messages=messages,
        sandbox_id=await _sandbox(body, caller, deps),
        sampling={name: value for name, value in sampling.items() if value is not None},
        max_steps=body.max_tool_calls and body.max_tool_calls + 1,
    )


async def _sandbox(body: ResponseCreate, caller: Principal, deps: Services) -> str | None:
    shell = body.shell()
    if shell is None:
        return None
    if isinstance(shell.environment, ContainerReference):
        return deps.sandboxes.get(caller, shell.environment.container_id).id
    return (await deps.sandboxes.create(caller, NewSandbox(metadata={"made_for": "response"}))).id


async def _nobody(event: StreamEvent) -> None:
    del event


def _numbered(write: Write) -> Tell:
    sequence = 0

    async def tell(event: StreamEvent) -> None:
        nonlocal sequence
        await write(sse({**event, "sequence_number": sequence}, str(event["type"])))
        sequence += 1

    return tell


class _Response:
    """One response while it is made."""

    def __init__(self, request: ResponseCreate, run: RunRequest) -> None:
        self._request = request
        self._run = run
        self._writer = ItemWriter()
        self._id = items.new_id("resp")
        self._created_at = int(time.time())
        self._result: RunResult | None = None
        self.failed: LmSandboxError | None = None

    async def run(self, deps: Services, caller: Principal, tell: Tell) -> None:
        async def emit(event: Event) -> None:
            for told in self._writer.write(event):
                await tell(told)

        await tell({"type": "response.created", "response": self.body()})
        await tell({"type": "response.in_progress", "response": self.body()})
        try:
            self._result = await deps.agent.run(caller, self._run, emit)
        except LmSandboxError as error:
            self.failed = error
        for told in self._writer.close():
            await tell(told)
        await tell({"type": f"response.{self._status}", "response": self.body()})

    @property
    def _status(self) -> str:
        if self.failed is not None:
            return "failed"
        if self._result is None:
            return "in_progress"
        return "completed" if self._result.reason is EndReason.ANSWERED else "incomplete"

    def body(self) -> dict[str, object]:
        request = self._request
        ended = self._status != "in_progress"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if ended else None,
            "status": self._status,
            "incomplete_details": self._incomplete(),
            "error": self._error(),
            "model": request.model,
            "instructions": request.instructions,
            "output": self._writer.output,
            "previous_response_id": None,
            "tools": [tool.model_dump(exclude_unset=True) for tool in request.tools],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "truncation": "disabled",
            "text": {"format": {"type": "text"}},
            "top_p": 1.0 if request.top_p is None else request.top_p,
            "temperature": 1.0 if request.temperature is None else request.temperature,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_logprobs": 0,
            "reasoning": {"effort": None, "summary": None},
            "usage": _usage(self._result.usage) if self._result else None,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "store": False,
            "background": False,
            "service_tier": "default",
            "metadata": request.metadata or {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }

    def _incomplete(self) -> dict[str, str] | None:
        if self._status != "incomplete" or self._result is None:
            return None
        cut = self._result.reason is EndReason.TOKEN_LIMIT
        return {"reason": "max_output_tokens" if cut else self._result.reason.value}

    def _error(self) -> dict[str, str] | None:
        if self.failed is None:
            return None
        failure = failure_of(self.failed)
        return {"code": "server_error", "message": failure.message}


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
