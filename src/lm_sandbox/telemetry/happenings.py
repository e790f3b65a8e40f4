"""What happens in a server, told once where it happens to whoever listens: audit, metrics and logs.

Whoever tells neither waits nor fails for its listeners; what takes long they do somewhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import time

from lm_sandbox.telemetry.places import Place


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from; empty for what the server does by itself.

    Attributes:
        request_id: Names the request in every record, metric and log line.
        address: Of the client.
        place: The span of its trace that what happens belongs to.
    """

    request_id: str = ""
    address: str = ""
    place: Place | None = None


# Follows a request through every layer and into the tasks that it starts.
ORIGIN: ContextVar[Origin] = ContextVar("lm_sandbox_origin", default=Origin())  # noqa: B039 - it is frozen


@contextmanager
def span_within() -> Iterator[None]:
    """Lets what happens within belong to a new span, which belongs to the one before."""
    origin = ORIGIN.get()
    if origin.place is None:
        yield
        return
    token = ORIGIN.set(replace(origin, place=origin.place.within()))
    try:
        yield
    finally:
        ORIGIN.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that has happened.

    Attributes:
        who: The id of the principal; empty where none is known.
        name: The principal's name, for people.
        origin: The request that it belongs to.
        at: When, in seconds since 1970.
    """

    who: str = ""
    name: str = ""
    origin: Origin = field(default_factory=ORIGIN.get)
    at: float = field(default_factory=time)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded(Happening):
    """A request was answered, or a WebSocket closed.

    Attributes:
        method: Such as `GET`; `WS` for a WebSocket.
        route: The template of its path, or `unmatched`.
        parts: What stood in the path, by name.
        status: The HTTP status.
        code: The stable code of its error, else empty.
        duration_ms: From its first byte to its last.
        begun_ms: From its first byte to the first of the answer.
        scope: What the route asked the principal for.
        asked: The body of an admin's request, cut.
    """

    method: str
    route: str
    parts: Mapping[str, object]
    status: int
    duration_ms: float
    begun_ms: float
    code: str = ""
    scope: str = ""
    asked: str = ""

    @property
    def changes_the_server(self) -> bool:
        """Whether an admin asked for something that outlives the request."""
        return self.scope == "admin" and self.method not in {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxMade(Happening):
    """A sandbox was asked for; `outcome` is `ok` or the code of the error.

    Attributes:
        volumes: The ids of the volumes that it has.
    """

    sandbox: str
    driver: str
    outcome: str
    duration_ms: float
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxGone(Happening):
    """A sandbox was deleted, by its owner or because its time was over."""

    sandbox: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted(Happening):
    """A command runs.

    Attributes:
        command: Its id.
        text: What it is: a text for bash, or the program with its arguments.
        env: The names of the variables it was given.
        spawn_ms: How long the driver took to start it.
    """

    sandbox: str
    command: str
    text: str | tuple[str, ...]
    cwd: str
    env: tuple[str, ...]
    driver: str
    spawn_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnded(Happening):
    """A command is over; `outcome` is `ok`, `failed`, `killed`, `cancelled` or the code of the error."""

    sandbox: str
    command: str
    driver: str
    outcome: str
    duration_ms: float
    exit_code: int | None = None
    signal: str | None = None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTouched(Happening):
    """Files of a sandbox were read or changed through the API."""

    sandbox: str
    operation: str
    path: str
    outcome: str
    duration_ms: float
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOpened(Happening):
    """A terminal was opened; what is typed there is not recorded."""

    sandbox: str
    terminal: str
    text: tuple[str, ...]
    cwd: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressNoted(Happening):
    """A sandbox was refused a connection (`denied`), or what it may reach was `changed`.

    Attributes:
        left_out: Refusals before this one that were too many to be told one by one.
    """

    sandbox: str
    decision: str
    subject: str
    detail: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsed(Happening):
    """A model had a request; who it was is in the request, not here.

    Attributes:
        model: Its public name.
        waited_ms: For its turn, and for it to be loaded.
        duration_ms: From then to the end.
        first_ms: From then to the first piece of the answer, where there was one.
        prompt_tokens: Where the engine told.
        completion_tokens: Where the engine told.
        kind: What the model is for: `chat`, `embedding` or `rerank`.
    """

    engine: str
    model: str
    outcome: str
    kind: str = "chat"
    waited_ms: float
    duration_ms: float
    first_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(Happening):
    """A model has called a tool of this server in a run, within a span of its own.

    Attributes:
        tool: The name that the model gave; `other` where there is no such tool.
        call: The call's id.
        outcome: `ok`, `failed`, `rejected`, `proposed` (to the caller), `cancelled`, or the code of an error.
    """

    tool: str
    call: str
    outcome: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Happening):
    """A run is over, within a span of its own.

    Attributes:
        model: As it was asked for.
        outcome: The reason of its end, `cancelled`, or the code of an error.
        steps: Turns of the model.
    """

    model: str
    outcome: str
    steps: int
    duration_ms: float
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginTried(Happening):
    """Somebody has given a password; `who` is empty where there is no such user.

    Attributes:
        outcome: `ok`, `wrong_password`, `unknown_user`, `disabled`, or the code of the error.
        login: The id of the login that it has become.
    """

    outcome: str
    login: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginEnded(Happening):
    """A login is over with all its tokens.

    Attributes:
        login: Its id.
        reason: `revoked`, `password`, `disabled`, or `reuse` of a refresh token, which somebody has stolen.
    """

    login: str
    reason: str


Tell = Callable[[Happening], None]


def unheard(happening: Happening) -> None:
    """Nobody listens."""
    del happening


def tell_all(listeners: Iterable[Tell]) -> Tell:
    """Tells several listeners, in order."""
    fixed = tuple(listeners)

    def tell(happening: Happening) -> None:
        for listener in fixed:
            listener(happening)

    return tell
