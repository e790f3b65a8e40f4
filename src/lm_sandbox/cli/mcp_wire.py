"""What the HTTP transport of MCP says in headers, read from the messages themselves.

Source: modelcontextprotocol.io, revisions 2026-07-28 and 2025-11-25, "Streamable HTTP".
"""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

VERSION = "io.modelcontextprotocol/protocolVersion"
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
MARKED = re.compile(r"=\?base64\?.*\?=")
PARSE_ERROR = -32700
INTERNAL_ERROR = -32603

JsonObject = Mapping[str, Any]


def is_stateless(message: JsonObject) -> bool:
    """Whether it is of the revision 2026-07-28 or later, whose requests carry all that they need."""
    return VERSION in _meta(message)


def headers_of(message: JsonObject) -> dict[str, str]:
    """Returns the headers that a message of a revision without sessions goes with."""
    if not is_stateless(message):
        return {}
    method = str(message.get("method", ""))
    headers = {"mcp-protocol-version": str(_meta(message)[VERSION]), "mcp-method": _field(method)}
    name = _params(message).get(NAMED_BY.get(method, ""))
    return headers | ({"mcp-name": _field(name)} if isinstance(name, str) else {})


def cancelled_id(message: JsonObject) -> str | None:
    """Returns the key of the request that a notification cancels, where it is one of these."""
    if message.get("method") != "notifications/cancelled":
        return None
    return key_of(_params(message).get("requestId"))


def key_of(request_id: object) -> str:
    """Returns what tells the id of one request from another: 1 is not "1"."""
    return json.dumps(request_id)


def failed(request_id: object, message: str, code: int = INTERNAL_ERROR) -> bytes:
    """Writes an error as the answer to a request."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    ).encode()


def answer_of(body: bytes, status: int, request_id: object) -> bytes:
    """Makes the answer to a request of what the server has sent in one piece, whatever that is."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return failed(request_id, f"The server has answered with status {status}.")
    if "jsonrpc" not in found:
        return failed(request_id, str(found.get("detail") or f"The server has answered {status}."))
    # What is refused before it is read is refused without its id.
    return json.dumps(found if found.get("id") is not None else found | {"id": request_id}).encode()


async def events(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Gives the data of server-sent events, each on one line."""
    data: list[bytes] = []
    async for line in _lines(answer):
        if line.startswith(b"data:"):
            data.append(line[len(b"data:") :].removeprefix(b" "))
        elif not line and data:
            text, data = b"".join(data), []
            if text:
                yield text


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    # httpx would also split at U+2028 and the like, which may stand within JSON.
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")


def answers(data: bytes, request_id: object) -> bool:
    """Whether a message is the answer to a request, and not only something about it."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and "method" not in found and found.get("id") == request_id


def _params(message: JsonObject) -> JsonObject:
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def _meta(message: JsonObject) -> JsonObject:
    meta = _params(message).get("_meta")
    return meta if isinstance(meta, dict) else {}


def _field(value: str) -> str:
    if SAFE.fullmatch(value) and not MARKED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode(errors='replace')).decode()}?="
