"""Which requests may go to the engine. Pure. Source: the Docker Engine API, version 1.41."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl

from lm_sandbox.config.sandboxes import DockerSettings
from lm_sandbox.errors import Forbidden
from lm_sandbox.sandboxes.drivers.docker.answers import EngineInfo
from lm_sandbox.sandboxes.drivers.docker.engine import REFERENCE
from lm_sandbox.sandboxes.drivers.docker.engine_proxy.orders import (
    OWNER_LABEL,
    Grant,
    container_order,
    exec_order,
    start_order,
    update_order,
)

ID = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
LABEL = re.compile(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.-]*")
# Of what the engine tells of its host, what the driver reads.
INFO_FIELDS = frozenset(str(known.alias) for known in EngineInfo.model_fields.values())
UNKNOWN = "The driver asks no such thing of the engine."


class Subject(Enum):
    """What a request is about."""

    ENGINE = auto()
    CONTAINER = auto()
    PROGRAM = auto()


@dataclass(frozen=True, slots=True)
class Permitted:
    """A request that may go to the engine, made anew.

    Attributes:
        method: As in HTTP.
        path: Without a query.
        query: Its parts.
        body: What is sent as JSON, if anything.
        subject: What must be the caller's own.
        id: Of the subject.
        told: The fields of the answer that the caller gets; None for all.
        attaches: Whether the connection becomes the program's input and output.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    subject: Subject = Subject.ENGINE
    id: str = ""
    told: frozenset[str] | None = None
    attaches: bool = False


class Rules:
    """What one server may ask of an engine.

    Args:
        settings: What makes every sandbox.
        grant: What one may have.
        owner: The server's name; containers with another one, or none, are not there for it.
    """

    def __init__(self, settings: DockerSettings, grant: Grant, owner: str) -> None:
        self._settings = settings
        self._grant = grant
        self._owner = owner

    def permit(self, method: str, target: str, body: bytes) -> Permitted:
        """Returns what goes to the engine instead of a request.

        Raises:
            Forbidden: nothing does; the message says why.
        """
        path, _, text = target.partition("?")
        query = dict(pairs := parse_qsl(text, keep_blank_values=True))
        if not path.startswith("/") or len(query) != len(pairs):
            raise Forbidden(UNKNOWN)
        match [method, *path.split("/")[1:]]:
            case ["GET", "_ping"]:
                return _bare(Permitted("GET", "/_ping"), query, body)
            case ["GET", "info"]:
                return _bare(Permitted("GET", "/info", told=INFO_FIELDS), query, body)
            case ["GET", "images", *name, "json"]:
                return _bare(Permitted("GET", f"/images/{_image('/'.join(name))}/json"), query, body)
            case ["GET", "events"]:
                return _bare(_events(query), {}, body)
            case [_, "containers", *rest]:
                return self._container(method, rest, query, body)
            case [_, "exec", program, verb] if ID.fullmatch(program):
                return _program(method, program, verb, query, body)
        raise Forbidden(UNKNOWN)

    def _container(self, method: str, rest: list[str], query: dict[str, str], body: bytes) -> Permitted:
        match [method, *rest]:
            case ["GET", "json"]:
                return _bare(self._list(query), {}, body)
            case ["POST", "create"]:
                order = container_order(_json(body), self._settings, self._grant, self._owner)
                return _bare(Permitted("POST", "/containers/create", body=order), query, b"")
            case ["POST", container, "update"] if ID.fullmatch(container):
                made = update_order(_json(body), self._grant)
                path = f"/containers/{container}/update"
                permitted = Permitted(method, path, body=made, subject=Subject.CONTAINER, id=container)
                return _bare(permitted, query, b"")
            case [_, container, *verb] if ID.fullmatch(container):
                return _one_container(method, container, verb, query, body)
        raise Forbidden(UNKNOWN)

    def _list(self, query: dict[str, str]) -> Permitted:
        filters = _json(query.pop("filters", "").encode())
        match filters:
            case {"label": [str(label)], **more} if not more and LABEL.fullmatch(label):
                labels = [label, f"{OWNER_LABEL}={self._owner}"]
            case _:
                raise Forbidden(UNKNOWN)
        if query != {"all": "true"}:
            raise Forbidden(UNKNOWN)
        return Permitted("GET", "/containers/json", {**query, "filters": json.dumps({"label": labels})})


CONTAINER_VERBS: Mapping[tuple[str, ...], tuple[Mapping[str, str], Callable[[object], object] | None]] = {
    ("GET", "json"): ({}, None),
    ("GET", "stats"): ({"stream": "false", "one-shot": "true"}, None),
    ("POST", "start"): ({}, None),
    ("POST", "pause"): ({}, None),
    ("POST", "unpause"): ({}, None),
    ("POST", "exec"): ({}, exec_order),
    ("DELETE",): ({"force": "true", "v": "true"}, None),
}


def _one_container(
    method: str, container: str, verb: list[str], query: dict[str, str], body: bytes
) -> Permitted:
    known = CONTAINER_VERBS.get((method, *verb))
    if known is None or query != known[0]:
        raise Forbidden(UNKNOWN)
    path = "/".join(["/containers", container, *verb])
    order = known[1]
    if order is None:
        return _bare(Permitted(method, path, query, subject=Subject.CONTAINER, id=container), {}, body)
    made = order(_json(body))
    return Permitted(method, path, query, made, subject=Subject.CONTAINER, id=container)


def _program(method: str, program: str, verb: str, query: dict[str, str], body: bytes) -> Permitted:
    path = f"/exec/{program}/{verb}"
    match [method, verb]:
        case ["GET", "json"]:
            return _bare(Permitted(method, path, subject=Subject.PROGRAM, id=program), query, body)
        case ["POST", "start"]:
            order = start_order(_json(body))
            permitted = Permitted(
                method, path, body=order, subject=Subject.PROGRAM, id=program, attaches=True
            )
            return _bare(permitted, query, b"")
    raise Forbidden(UNKNOWN)


def _events(query: dict[str, str]) -> Permitted:
    filters = _json(query.pop("filters", "").encode())
    match filters:
        case {"container": [str(container)], "event": ["oom"], **more} if not more:
            times = query.keys() == {"since", "until"} and all(map(TIME.fullmatch, query.values()))
            if times and ID.fullmatch(container):
                asked = {**query, "filters": json.dumps(filters)}
                return Permitted("GET", "/events", asked, subject=Subject.CONTAINER, id=container)
    raise Forbidden(UNKNOWN)


def _image(name: str) -> str:
    if not REFERENCE.fullmatch(name) or ".." in name or "//" in name:
        raise Forbidden(UNKNOWN)
    return name


def _bare(permitted: Permitted, query: Mapping[str, str], body: bytes) -> Permitted:
    """Refuses what would be left out."""
    if query or body:
        raise Forbidden(UNKNOWN)
    return permitted


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Forbidden("The body is no JSON.") from error
