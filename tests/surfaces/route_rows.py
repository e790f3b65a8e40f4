"""What every route asks of who calls it, and how it answers one who may: the matrix's rows."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Need(StrEnum):
    """What a caller needs for a route."""

    NOTHING = "nothing"
    LINK = "link"
    KEY = "key"
    MODELS = "models"
    SANDBOXES = "sandboxes"
    FILES = "files"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Row:
    """A route in the matrix.

    Attributes:
        need: What it asks for.
        ok: How it answers one who may.
        json: What is sent to it; `{name}` in a text stands for an id.
        content: What is sent instead of JSON.
        query: After the path.
        owned: Whether it is about one thing of an owner, which is not there for others.
        listed: Whether it lists things of which those of other owners must be left out.
        foreign: Another body that names somebody else's thing, which must be a 404.
    """

    need: Need
    ok: int = 200
    json: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    query: str = ""
    owned: bool = False
    listed: bool = False
    foreign: dict[str, Any] | None = None


S, M, F, A = Need.SANDBOXES, Need.MODELS, Need.FILES, Need.ADMIN
BOX = "/v1/sandboxes/{sandbox_id}"
FILE = BOX + "/files/{path}"
COMMAND = BOX + "/commands/{command_id}"
CONTAINER = "/v1/containers/{container_id}"
CONVERSATION = "/v1/conversations/{conversation_id}"
UNKNOWN: dict[str, Any] = {"model": "no-such-model"}
ASKED: dict[str, Any] = {**UNKNOWN, "messages": [{"role": "user", "content": "x"}], "input": "x"}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="new.txt"\r\n\r\nx\r\n--b--\r\n'
)

# In the order in which one who may calls them: what ends a thing comes after what uses it.
ROWS: dict[tuple[str, str], Row] = {
    ("GET", "/healthz"): Row(Need.NOTHING),
    ("GET", "/readyz"): Row(Need.NOTHING),
    ("GET", "/metrics"): Row(Need.METRICS),
    ("GET", "/v1/audit"): Row(A),
    ("GET", "/v1/audit/verification"): Row(A),
    ("GET", "/v1/audit/export"): Row(A),
    ("GET", "/docs"): Row(Need.NOTHING),
    ("GET", "/openapi.json"): Row(Need.NOTHING),
    ("GET", "/.well-known/jwks.json"): Row(Need.NOTHING),
    ("GET", "/.well-known/oauth-authorization-server"): Row(Need.NOTHING),
    # It takes the key in its body, as a form.
    ("POST", "/oauth/token"): Row(Need.NOTHING, 400),
    ("POST", "/oauth/introspect"): Row(Need.KEY, content=b"token=x"),
    # Who has a token may give it back.
    ("POST", "/oauth/revoke"): Row(Need.NOTHING, content=b"token=x"),
    # For who has a password only.
    ("PUT", "/v1/users/self/password"): Row(Need.KEY, 401, {"old": "x", "new": "y"}),
    ("GET", "/"): Row(Need.NOTHING),
    ("HEAD", "/"): Row(Need.NOTHING),
    ("GET", "/.well-known/oauth-protected-resource"): Row(Need.NOTHING),
    ("GET", "/.well-known/oauth-protected-resource/mcp"): Row(Need.NOTHING),
    ("ANY", "/v1/port-links/{token}/{path:path}"): Row(Need.LINK, 401),
    ("WS", "/v1/port-links/{token}/{path:path}"): Row(Need.LINK, 401),
    ("GET", "/v1/keys/self"): Row(Need.KEY),
    # Models: that there is no such model is told to those only who may ask.
    ("GET", "/v1/models"): Row(M),
    ("GET", "/v1/models/{name}"): Row(M),
    ("POST", "/v1/chat/completions"): Row(M, 404, ASKED),
    ("POST", "/v1/completions"): Row(M, 404, {**UNKNOWN, "prompt": "x"}),
    ("POST", "/v1/embeddings"): Row(M, 404, {**UNKNOWN, "input": "x"}),
    ("POST", "/v1/rerank"): Row(M, 404, {**UNKNOWN, "query": "x", "documents": ["x"]}),
    ("GET", "/v1/engines"): Row(M),
    ("GET", "/v1/hardware"): Row(M),
    ("GET", "/v1/engines/{engine}/models/{name}"): Row(M),
    ("POST", "/llama-cpp/"): Row(M, 404, {"cmd": "x", **UNKNOWN}),
    ("POST", "/ollama/"): Row(M, 404, {"cmd": "x", **UNKNOWN}),
    ("POST", "/query-model/"): Row(M, 404, {"cmd": "x", **UNKNOWN}),
    ("POST", "/v1/messages"): Row(M, 404, {**ASKED, "max_tokens": 9}),
    ("POST", "/v1/messages/count_tokens"): Row(M, 404, ASKED),
    ("POST", "/api/chat"): Row(M, 404, ASKED),
    ("POST", "/api/generate"): Row(M, 404, {**UNKNOWN, "prompt": "x"}),
    ("POST", "/api/embed"): Row(M, 404, ASKED),
    ("POST", "/api/embeddings"): Row(M, 404, {**UNKNOWN, "prompt": "x"}),
    ("POST", "/api/show"): Row(M, 404, UNKNOWN),
    ("GET", "/api/tags"): Row(M),
    ("HEAD", "/api/tags"): Row(M),
    ("GET", "/api/ps"): Row(M),
    ("GET", "/api/version"): Row(M),
    ("HEAD", "/api/version"): Row(M),
    ("GET", "/api/{path:path}"): Row(Need.NOTHING, 404),
    ("POST", "/api/{path:path}"): Row(Need.NOTHING, 404),
    ("PUT", "/api/{path:path}"): Row(Need.NOTHING, 404),
    ("DELETE", "/api/{path:path}"): Row(Need.NOTHING, 404),
    ("POST", "/api/pull"): Row(A, 200, UNKNOWN),
    ("DELETE", "/api/delete"): Row(A, 404, content=b'{"model": "no-such-model"}'),
    ("POST", "/api/copy"): Row(A, 404, {"source": "x", "destination": "y"}),
    ("POST", "/api/create"): Row(A, 409, {"model": "y"}),
    ("POST", "/api/push"): Row(A, 409),
    ("POST", "/api/blobs/{digest}"): Row(A, 409),
    ("HEAD", "/api/blobs/{digest}"): Row(A, 409),
    ("POST", "/v1/engines/{engine}/load"): Row(A, 404, UNKNOWN),
    ("POST", "/v1/engines/{engine}/unload"): Row(A, 204, UNKNOWN),
    ("POST", "/v1/engines/{engine}/pull"): Row(A, 200, {"source": "nowhere"}),
    ("DELETE", "/v1/engines/{engine}/models/{name}"): Row(A, 409),
    # Responses.
    ("POST", "/v1/responses"): Row(M, 404, ASKED, foreign={**ASKED, "previous_response_id": "{response_id}"}),
    ("POST", "/v1/responses/input_tokens"): Row(
        M, 404, ASKED, foreign={**ASKED, "conversation": "{conversation_id}"}
    ),
    ("POST", "/v1/responses/compact"): Row(
        M, 404, ASKED, foreign={**ASKED, "previous_response_id": "{response_id}"}
    ),
    ("GET", "/v1/responses"): Row(M, listed=True),
    ("GET", "/v1/responses/{response_id}"): Row(M, owned=True),
    ("GET", "/v1/responses/{response_id}/input_items"): Row(M, owned=True),
    ("POST", "/v1/responses/{response_id}/cancel"): Row(M, 409, owned=True),
    ("DELETE", "/v1/responses/{response_id}"): Row(M, owned=True),
    # Conversations.
    ("POST", "/v1/conversations"): Row(M),
    ("GET", CONVERSATION): Row(M, owned=True),
    ("POST", CONVERSATION): Row(M, json={"metadata": {}}, owned=True),
    ("POST", f"{CONVERSATION}/items"): Row(M, json={"items": [{"role": "user", "content": "x"}]}, owned=True),
    ("GET", f"{CONVERSATION}/items"): Row(M, owned=True),
    ("GET", CONVERSATION + "/items/{item_id}"): Row(M, owned=True),
    ("DELETE", CONVERSATION + "/items/{item_id}"): Row(M, owned=True),
    ("DELETE", CONVERSATION): Row(M, owned=True),
    # Files that are handed in.
    ("POST", "/v1/files"): Row(F, content=FORM),
    ("GET", "/v1/files"): Row(F, listed=True),
    ("GET", "/v1/files/{upload_id}"): Row(F, owned=True),
    ("GET", "/v1/files/{upload_id}/content"): Row(F, owned=True),
    # Sandboxes.
    ("POST", "/v1/sandboxes"): Row(S, 201, foreign={"snapshot": "{snapshot_id}"}),
    ("GET", "/v1/sandboxes"): Row(S, listed=True),
    ("GET", BOX): Row(S, owned=True),
    ("PATCH", BOX): Row(S, json={"idle_timeout_s": 60}, owned=True),
    ("GET", f"{BOX}/stats"): Row(S, owned=True),
    ("GET", f"{BOX}/events"): Row(S, owned=True),
    ("POST", f"{BOX}/commands"): Row(S, json={"command": "true"}, owned=True),
    ("GET", f"{BOX}/commands"): Row(S, owned=True),
    ("GET", COMMAND): Row(S, owned=True),
    ("POST", f"{COMMAND}/stdin"): Row(S, 204, {"data": "x"}, owned=True),
    ("POST", f"{COMMAND}/signal"): Row(S, 204, {"signal": "SIGTERM"}, owned=True),
    ("GET", f"{COMMAND}/output"): Row(S, owned=True),
    ("GET", COMMAND + "/{stream}"): Row(S, owned=True),
    ("DELETE", COMMAND): Row(S, 204, owned=True),
    ("POST", f"{BOX}/shells"): Row(S, 201, owned=True),
    ("GET", f"{BOX}/shells"): Row(S, owned=True),
    ("GET", BOX + "/shells/{shell_id}"): Row(S, owned=True),
    ("POST", BOX + "/shells/{shell_id}/run"): Row(S, json={"command": "true"}, owned=True),
    ("DELETE", BOX + "/shells/{shell_id}"): Row(S, 204, owned=True),
    ("POST", f"{BOX}/terminals"): Row(S, 201, owned=True),
    ("GET", f"{BOX}/terminals"): Row(S, owned=True),
    ("GET", BOX + "/terminals/{terminal_id}"): Row(S, owned=True),
    ("PATCH", BOX + "/terminals/{terminal_id}"): Row(S, json={"rows": 9, "columns": 9}, owned=True),
    ("WS", BOX + "/terminals/{terminal_id}/ws"): Row(S, 101, owned=True),
    ("DELETE", BOX + "/terminals/{terminal_id}"): Row(S, 204, owned=True),
    ("POST", f"{BOX}/port-links"): Row(S, 201, {"port": 1}, owned=True),
    # Nothing listens there, which is told to the owner only.
    ("ANY", BOX + "/ports/{port}/{path:path}"): Row(S, 502, owned=True),
    ("WS", BOX + "/ports/{port}/{path:path}"): Row(S, 502, owned=True),
    ("PUT", FILE): Row(S, 201, content=b"x", owned=True),
    ("GET", FILE): Row(S, owned=True),
    ("HEAD", FILE): Row(S, owned=True),
    ("PATCH", FILE): Row(S, json={"action": "chmod", "mode": "600"}, owned=True),
    ("POST", f"{BOX}/files/edit"): Row(S, json={"path": "/workspace/f", "old": "x", "new": "y"}, owned=True),
    ("POST", f"{BOX}/files/search"): Row(S, json={"path": "/workspace", "glob": "*"}, owned=True),
    ("DELETE", FILE): Row(S, 204, owned=True),
    ("GET", f"{BOX}/archive"): Row(S, owned=True),
    ("PUT", f"{BOX}/archive"): Row(S, content=bytes(1024), owned=True),
    ("POST", f"{BOX}/snapshots"): Row(S, 201, owned=True),
    ("GET", "/v1/snapshots"): Row(S, listed=True),
    ("GET", "/v1/snapshots/{snapshot_id}"): Row(S, owned=True),
    ("GET", f"{BOX}/changes"): Row(S, query="?since={snapshot_id}", owned=True),
    ("POST", f"{BOX}/restore"): Row(S, json={"snapshot": "{snapshot_id}"}, owned=True),
    ("DELETE", "/v1/snapshots/{snapshot_id}"): Row(S, 204, owned=True),
    ("POST", "/v1/volumes"): Row(S, 201, {"size_mib": 16}),
    ("GET", "/v1/volumes"): Row(S, listed=True),
    ("GET", "/v1/volumes/{volume_id}"): Row(S, owned=True),
    ("DELETE", "/v1/volumes/{volume_id}"): Row(S, 204, owned=True),
    # Containers.
    ("POST", "/v1/containers"): Row(
        S, json={"name": "c"}, foreign={"name": "c", "file_ids": ["{upload_id}"]}
    ),
    ("GET", "/v1/containers"): Row(S, listed=True),
    ("GET", CONTAINER): Row(S, owned=True),
    ("POST", f"{CONTAINER}/files"): Row(S, content=FORM, owned=True),
    ("GET", f"{CONTAINER}/files"): Row(S, owned=True),
    ("GET", CONTAINER + "/files/{file_id}"): Row(S, owned=True),
    ("GET", CONTAINER + "/files/{file_id}/content"): Row(S, owned=True),
    ("DELETE", CONTAINER + "/files/{file_id}"): Row(S, owned=True),
    ("DELETE", CONTAINER): Row(S, owned=True),
    ("DELETE", "/v1/files/{upload_id}"): Row(F, owned=True),
    ("POST", f"{BOX}/pause"): Row(S, owned=True),
    ("POST", f"{BOX}/resume"): Row(S, owned=True),
    ("POST", f"{BOX}/stop"): Row(S, owned=True),
    ("POST", f"{BOX}/start"): Row(S, owned=True),
    ("DELETE", BOX): Row(S, 204, owned=True),
    ("POST", "/mcp"): Row(S, 400, {"jsonrpc": "2.0"}),
    ("GET", "/mcp"): Row(S, 400),
    ("DELETE", "/mcp"): Row(S, 400),
    ("GET", "/v1/images"): Row(S),
    ("PUT", "/v1/images/{image}"): Row(A, 422, content=b"x"),
    ("DELETE", "/v1/images/{image}"): Row(A, 404),
    ("POST", "/run-bash/"): Row(S, json={"cmd": "true"}),
    # Keys.
    ("POST", "/v1/keys"): Row(A, 201, {"name": "x", "scopes": ["models"]}),
    ("GET", "/v1/keys"): Row(A),
    ("GET", "/v1/keys/{key_id}"): Row(A),
    ("PATCH", "/v1/keys/{key_id}"): Row(A, json={"name": "y"}),
    ("POST", "/v1/keys/{key_id}/rotate"): Row(A),
    ("DELETE", "/v1/keys/{key_id}"): Row(A),
    # Users.
    ("POST", "/v1/users"): Row(A, 201, {"name": "x", "scopes": ["models"]}),
    ("GET", "/v1/users"): Row(A),
    ("GET", "/v1/users/{user_id}"): Row(A),
    ("PATCH", "/v1/users/{user_id}"): Row(A, json={"scopes": ["files"]}),
    ("PUT", "/v1/users/{user_id}/password"): Row(A),
    ("POST", "/v1/users/{user_id}/logout"): Row(A),
    ("DELETE", "/v1/users/{user_id}"): Row(A, 204),
}
