"""The server of the official SDK: its messages in, our services asked, its messages out."""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ImageContent,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from lm_sandbox import __version__
from lm_sandbox.errors import Gone, Invalid, LmSandboxError, NotFound
from lm_sandbox.surfaces.errors import Failure, failure_of
from lm_sandbox.surfaces.mcp.caller import Call, Caller
from lm_sandbox.surfaces.mcp.resources import FileResource, FileResources
from lm_sandbox.surfaces.mcp.told import Told, plain
from lm_sandbox.surfaces.mcp.toolbox import INSTRUCTIONS, SandboxTool, Toolbox
from lm_sandbox.surfaces.mcp.uris import TEMPLATE

Context = ServerRequestContext[Any, Any]
T = TypeVar("T")
# Where the `_meta` of a result has what programs may want to know.
DETAILS = "lm-sandbox/result"
ERROR = "lm-sandbox/error"
# A resource that is not there, in revisions up to 2025-11-25.
RESOURCE_NOT_FOUND = -32002
# JSON-RPC leaves this one to servers.
UNAVAILABLE = -32000


def build_server(toolbox: Toolbox, resources: FileResources) -> Server[Any]:
    """Builds the server; which conversation a request is of stands in the request's own state."""

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        del context, params
        return ListToolsResult(tools=[_tool(tool) for tool in toolbox])

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = toolbox.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            return _result(await tool.call(_call(context), params.arguments or {}))
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes an answer
            return _failed(failure_of(error))

    async def list_resources(context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        cursor = params.cursor if params else None
        found, after = await _told(context, lambda: resources.list(_call(context), cursor))
        return ListResourcesResult(resources=[_resource(one) for one in found], next_cursor=after)

    async def list_templates(
        context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        del context, params
        file = ResourceTemplate(
            name="file",
            title="A file of a sandbox",
            uri_template=TEMPLATE,
            description="by its absolute path",
        )
        return ListResourceTemplatesResult(resource_templates=[file])

    async def read_resource(context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        data, media_type = await _told(
            context, lambda: resources.read(_call(context), params.uri), params.uri
        )
        return ReadResourceResult(contents=[_contents(params.uri, data, media_type)])

    return Server(
        "lm-sandbox",
        version=__version__,
        title="lm-sandbox",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _call(context: Context) -> Call:
    caller = context.request.state.mcp_caller if context.request is not None else None
    if not isinstance(caller, Caller):
        raise TypeError("the request has come by no route of ours")
    session = caller.session
    if session is None:
        client = context.session.client_params
        session = f"client\0{client.client_info.name if client else ''}"
    wants_progress = bool(context.meta and context.meta.get("progress_token") is not None)
    return Call(caller, session, partial(_report, context) if wants_progress else None)


async def _report(context: Context, seconds: float, text: str) -> None:
    await context.session.report_progress(seconds, message=text or None)


def _tool(tool: SandboxTool) -> Tool:
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.schema(),
        # A sandbox is apart from the world: what is destroyed in it is nobody else's.
        annotations=ToolAnnotations(read_only_hint=tool.reads_only, open_world_hint=False),
    )


def _result(told: Told) -> CallToolResult:
    content: list[Any] = [TextContent(text=told.text)]
    if told.image is not None:
        data = base64.b64encode(told.image.data).decode()
        content.append(ImageContent(data=data, mime_type=told.image.media_type))
    return CallToolResult(content=content, _meta={DETAILS: dict(told.details)})


def _failed(failure: Failure) -> CallToolResult:
    text = plain(f"{failure.code}: {failure.message}")
    return CallToolResult(content=[TextContent(text=text)], is_error=True, _meta={ERROR: _error(failure)})


def _error(failure: Failure) -> dict[str, object]:
    told = {"code": failure.code, "field": failure.field, "limit": failure.limit}
    return {name: value for name, value in told.items() if value is not None}


async def _told(context: Context, work: Callable[[], Awaitable[T]], uri: str | None = None) -> T:
    """Does what is no tool, whose errors are the protocol's."""
    try:
        return await work()
    except LmSandboxError as error:
        failure = failure_of(error)
        data = _error(failure) | ({"uri": uri} if uri else {})
        raise MCPError(_code_of(error, context.protocol_version), plain(failure.message), data) from error


def _code_of(error: LmSandboxError, version: str) -> int:
    if isinstance(error, NotFound | Gone) and version in HANDSHAKE_PROTOCOL_VERSIONS:
        return RESOURCE_NOT_FOUND
    return INVALID_PARAMS if isinstance(error, NotFound | Gone | Invalid) else UNAVAILABLE


def _resource(found: FileResource) -> Resource:
    return Resource(name=found.name, uri=found.uri, mime_type=found.media_type, size=found.size)


def _contents(uri: str, data: bytes, media_type: str | None) -> TextResourceContents | BlobResourceContents:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        blob = base64.b64encode(data).decode()
        return BlobResourceContents(uri=uri, blob=blob, mime_type=media_type or "application/octet-stream")
    return TextResourceContents(uri=uri, text=text, mime_type=media_type or "text/plain")
