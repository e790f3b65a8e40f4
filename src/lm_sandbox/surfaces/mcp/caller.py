"""Who calls, and what tells one conversation of theirs from another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lm_sandbox.identity.principals import Principal

Report = Callable[[float, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request.

    Attributes:
        principal: Whose key it is.
        session: What its requests share a sandbox by; None leaves only the client's name for that.
        sandbox: The name of the sandbox that is pinned to the connection, where one is.
    """

    principal: Principal
    session: str | None = None
    sandbox: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        caller: Who calls.
        session: Names the conversation, whatever told it.
        report: Sends progress: seconds, and what is new; None where nobody asked for it.
    """

    caller: Caller
    session: str
    report: Report | None = None

    @property
    def principal(self) -> Principal:
        """Whose key it is."""
        return self.caller.principal
