"""From the request of a response to the run that makes it."""

import base64
import mimetypes
from dataclasses import dataclass

from lm_sandbox.agent.request import RunRequest, Shell
from lm_sandbox.agent.tools import bash_tool, describe_network
from lm_sandbox.errors import Gone, SandboxNotFound, TooLarge
from lm_sandbox.identity.principals import Principal
from lm_sandbox.sandboxes.limits import MIB
from lm_sandbox.sandboxes.sandbox import Lifetime, Sandbox, SandboxState
from lm_sandbox.surfaces.deps import Services
from lm_sandbox.surfaces.openai.containers.making import make_container
from lm_sandbox.surfaces.openai.containers.skills import told, told_of_local
from lm_sandbox.surfaces.openai.responses.conversation import Conversation, file_ids, read_items
from lm_sandbox.surfaces.openai.responses.history import Continued, History, read_history, read_kept
from lm_sandbox.surfaces.openai.responses.schemas import ResponseCreate
from lm_sandbox.surfaces.openai.responses.tools import (
    ContainerAuto,
    ContainerReference,
    Local,
    ShellTool,
    Toolset,
)
from lm_sandbox.surfaces.runs.draft import Draft
from lm_sandbox.surfaces.runs.making import Making

LARGEST_PICTURE = 20 * MIB
# For counting: which sandbox it will be is not known yet.
NETWORK = "There is no network."


async def prepare(body: ResponseCreate, caller: Principal, deps: Services) -> Making:
    """Finds everything that a response needs, before any of it is answered.

    Raises:
        Invalid, NotHonoured: a field cannot be taken.
        NotFound: the previous response, the conversation, a file or the container is not there.
        ModelNotFound, ModelFailed: the model cannot be served.
    """
    body.refuse_what_changes_the_answer()
    tools = Toolset(body.tools, body.tool_choice)
    await deps.models.resolve(body.model)
    read = await read_conversation(body, caller, deps)
    shell, skills = await _shell(tools.shell, read.history, caller, deps)
    run = RunRequest(
        model=body.model,
        messages=[*body.opening(skills), *read.conversation.messages],
        shell=shell,
        functions=tools.functions,
        tool_choice=tools.choice,
        parallel_calls=body.parallel_tool_calls is not False,
        agreed=read.conversation.agreed,
        sampling=body.sampling(),
        max_tokens=body.max_output_tokens,
        max_commands=body.max_tool_calls,
    )
    draft = Draft(body.asked())
    ended = None
    if body.conversation_id is not None:
        ended = Continued(deps.kept_conversations, caller, body.conversation_id, shell)
    return Making(draft, run, caller, deps, ended)


async def count_tokens(body: ResponseCreate, caller: Principal, deps: Services) -> int:
    """Counts what a response would begin with, without making anything for it; raises as `prepare`."""
    tools = Toolset(body.tools, body.tool_choice)
    read = await read_conversation(body, caller, deps)
    bash = [bash_tool(NETWORK)] if tools.shell is not None else []
    messages = [*body.opening(), *read.conversation.messages]
    async with deps.models.lease(body.model, caller.id) as lease:
        return await deps.chat.count_tokens(lease, messages, [*bash, *tools.functions])


@dataclass(frozen=True, slots=True)
class Read:
    """What a response goes on from, and what the model is shown of it."""

    history: History
    conversation: Conversation


async def read_conversation(body: ResponseCreate, caller: Principal, deps: Services) -> Read:
    """Reads what was said before, and the input.

    Raises:
        Invalid, NotHonoured: a part of it cannot be taken.
        NotFound: the previous response, the conversation or a file is not there.
    """
    if body.conversation_id is not None:
        history = await read_kept(deps.kept_conversations, caller, body.conversation_id)
    else:
        history = await read_history(deps.runs, caller, body.previous_response_id)
    items = [*history.items, *body.items()]
    pictures = {name: await _picture(deps, caller, name) for name in file_ids(items)}
    return Read(history, read_items(items, pictures))


async def _shell(
    tool: ShellTool | None, history: History, caller: Principal, deps: Services
) -> tuple[Shell | None, str]:
    """Finds the shell, and what the model is told of its skills."""
    if tool is None:
        return None, ""
    if isinstance(tool.environment, Local):
        return Shell("", "", tool.consent), told_of_local(tool.environment.skills)
    sandbox = await _sandbox(tool, history, caller, deps)
    return Shell(sandbox.id, describe_network(sandbox.egress), tool.consent), told(sandbox.metadata)


async def _sandbox(tool: ShellTool, history: History, caller: Principal, deps: Services) -> Sandbox:
    if isinstance(tool.environment, ContainerReference):
        return deps.sandboxes.get(caller, tool.environment.container_id)
    kept = _kept(history, caller, deps)
    if kept is not None:
        return kept
    asked = tool.environment
    wanted = asked if isinstance(asked, ContainerAuto) else ContainerAuto(type="container_auto")
    idle = Lifetime(idle_timeout_s=deps.agent.settings.conversation_idle_s)
    return await make_container(wanted, {"made_for": "response"}, idle, caller, deps)


def _kept(history: History, caller: Principal, deps: Services) -> Sandbox | None:
    """A conversation goes on in the sandbox that it had, while that one lives."""
    if history.sandbox_id is None:
        return None
    try:
        sandbox = deps.sandboxes.get(caller, history.sandbox_id)
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
