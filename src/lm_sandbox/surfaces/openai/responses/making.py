"""How a response is made: from its request over its run to its record."""

import base64
import json
import mimetypes
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import anyio

from lm_sandbox.agent.event_log import EventLog
from lm_sandbox.agent.events import Event
from lm_sandbox.agent.loop import Emit
from lm_sandbox.agent.request import Consent, RunRequest, Shell
from lm_sandbox.agent.run_store import RunRecord
from lm_sandbox.agent.tools import describe_network
from lm_sandbox.errors import Gone, LmSandboxError, SandboxNotFound, TooLarge
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox, SandboxState
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.openai.containers.files import put_upload
from lm_sandbox.surfaces.openai.responses.conversation import file_ids, read_items
from lm_sandbox.surfaces.openai.responses.draft import RUNNING, Draft, Status
from lm_sandbox.surfaces.openai.responses.history import History, new_record, read_history
from lm_sandbox.surfaces.openai.responses.schemas import ResponseCreate
from lm_sandbox.surfaces.openai.responses.tools import ContainerAuto, ContainerReference, ShellTool, Toolset
from lm_sandbox.surfaces.openai.responses.writer import StreamEvent
from lm_sandbox.surfaces.streams import json_line

LARGEST_PICTURE = 20 * MIB
Tell = Callable[[str], Awaitable[None]]


async def prepare(body: ResponseCreate, caller: Principal, deps: Services) -> "Making":
    """Finds everything that a response needs, before any of it is answered.

    Raises:
        Invalid, NotHonoured: a field cannot be taken.
        NotFound: the previous response, a file or the container is not there.
        ModelNotFound, ModelFailed: the model cannot be served.
    """
    body.refuse_what_changes_the_answer()
    tools = Toolset(body.tools, body.tool_choice)
    await deps.models.resolve(body.model)
    history = await read_history(deps.runs, caller, body.previous_response_id)
    items = [*history.items, *body.items()]
    pictures = {name: await _picture(deps, caller, name) for name in file_ids(items)}
    conversation = read_items(items, pictures)
    shell = await _shell(tools.shell, history, caller, deps)
    run = RunRequest(
        model=body.model,
        messages=[*body.opening(), *conversation.messages],
        shell=shell,
        functions=tools.functions,
        tool_choice=tools.choice,
        parallel_calls=body.parallel_tool_calls is not False,
        agreed=conversation.agreed,
        sampling=body.sampling(),
        max_tokens=body.max_output_tokens,
        max_commands=body.max_tool_calls,
    )
    return Making(Draft(body), run, caller, deps)


class Making:
    """One response and the run that makes it.

    Attributes:
        draft: The response.
        log: What has happened.
    """

    def __init__(self, draft: Draft, run: RunRequest, caller: Principal, deps: Services) -> None:
        self.draft = draft
        self.log = EventLog()
        self._run = run
        self._caller = caller
        self._deps = deps
        self._entered = False

    async def start_in_background(self) -> None:
        """Begins it, for others to come back to.

        Raises:
            QuotaReached: the caller has as many at work as one may.
        """
        await self._deps.runs.add(replace(self._record(), running=True))
        self._entered = True
        try:
            self._deps.background.start(self.draft.id, self._caller.id, self.log, self.make)
        except LmSandboxError:
            await self._deps.runs.delete(self._caller, self.draft.id)
            raise

    async def make(self, tell: Tell | None = None, emit: Emit | None = None) -> None:
        """Makes it and keeps what came of it, however it ends; a failure is in the draft.

        Args:
            tell: Gets every stream event as JSON.
            emit: Gets every event of the run.
        """
        try:
            await self._make(_Teller(self.log, tell), emit)
        except BaseException:
            if self.draft.status in RUNNING:
                self.draft.cancel()
                with anyio.CancelScope(shield=True):
                    await self._keep()
            raise
        finally:
            self.log.close()

    async def _make(self, teller: "_Teller", also: Emit | None) -> None:
        draft = self.draft

        async def emit(event: Event) -> None:
            await teller.all(draft.writer.write(event))
            if also is not None:
                await also(event)

        await teller.state("created", draft)
        if draft.status is Status.QUEUED:
            await teller.state("queued", draft)
        draft.begin()
        await teller.state("in_progress", draft)
        try:
            draft.end(await self._deps.agent.run(self._caller, self._run, emit))
        except Exception as error:  # noqa: BLE001 - whatever it is, the response tells of it
            draft.fail(error)
        await teller.all(draft.writer.close())
        await self._keep()
        await teller.state(draft.status, draft)

    def _record(self) -> RunRecord:
        shell = self._run.shell
        sandbox_id = shell.sandbox_id if shell is not None else None
        return new_record(self.draft, self._caller.id, sandbox_id or None)

    async def _keep(self) -> None:
        """Is done before the end is told: who has read the end finds the response."""
        if not self.draft.request.stored:
            return
        events = list(self.log.events)
        if self.draft.status is not Status.CANCELLED:
            events.append(_numbered(_state(self.draft.status, self.draft), len(events)))
        if self._entered:
            await self._deps.runs.finish(self.draft.id, json.dumps(self.draft.body()), events)
        else:
            await self._deps.runs.add(replace(self._record(), events=events))


class _Teller:
    def __init__(self, log: EventLog, tell: Tell | None) -> None:
        self._log = log
        self._tell = tell

    async def state(self, name: str, draft: Draft) -> None:
        await self._say(_state(name, draft))

    async def all(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            await self._say(event)

    async def _say(self, event: StreamEvent) -> None:
        text = _numbered(event, len(self._log.events))
        self._log.append(text)
        if self._tell is not None:
            await self._tell(text)


def _state(name: str, draft: Draft) -> StreamEvent:
    return {"type": f"response.{name}", "response": draft.body()}


def _numbered(event: StreamEvent, number: int) -> str:
    return json_line({**event, "sequence_number": number})


async def _shell(tool: ShellTool | None, history: History, caller: Principal, deps: Services) -> Shell | None:
    if tool is None:
        return None
    if tool.consent is Consent.HANDED_OVER:
        return Shell("", "", tool.consent)
    sandbox = await _sandbox(tool, history, caller, deps)
    return Shell(sandbox.id, describe_network(sandbox.egress), tool.consent)


async def _sandbox(tool: ShellTool, history: History, caller: Principal, deps: Services) -> Sandbox:
    if isinstance(tool.environment, ContainerReference):
        return await deps.sandboxes.find(caller, tool.environment.container_id)
    kept = await _kept(history, caller, deps)
    if kept is not None:
        return kept
    asked = tool.environment
    wanted = asked if isinstance(asked, ContainerAuto) else ContainerAuto(type="container_auto")
    uploads = [await deps.uploads.find(caller, file_id) for file_id in wanted.file_ids]
    idle = Lifetime(idle_timeout_s=deps.agent.settings.conversation_idle_s)
    new = wanted.to_new(deps.sandboxes.default_limits(), {"made_for": "response"}, idle)
    sandbox = await deps.sandboxes.create(caller, new)
    for upload in uploads:
        await put_upload(deps, caller, sandbox.id, upload)
    return sandbox


async def _kept(history: History, caller: Principal, deps: Services) -> Sandbox | None:
    """A conversation goes on in the sandbox that it had, while that one lives."""
    if history.sandbox_id is None:
        return None
    try:
        sandbox = await deps.sandboxes.find(caller, history.sandbox_id)
    except (SandboxNotFound, Gone):
        return None
    return None if sandbox.state is SandboxState.FAILED else sandbox


async def _picture(deps: Services, caller: Principal, file_id: str) -> str:
    upload = await deps.uploads.find(caller, file_id)
    if upload.size_bytes > LARGEST_PICTURE:
        raise TooLarge(f"A picture may have {LARGEST_PICTURE // MIB} MiB at most.", field="input")
    kind = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
    async with deps.uploads.content(upload) as pieces:
        content = b"".join([piece async for piece in pieces])
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
