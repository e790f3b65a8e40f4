"""Every error that lm-sandbox raises on purpose.

    LmSandboxError
    ├── Invalid             bad input, names the field          422
    │   ├── TooLarge        over a size limit                   413
    │   └── NotHonoured     known, but nothing here does it     400
    ├── Unauthenticated     no key, or one that does not match  401
    │   ├── KeyExpired      its time is over
    │   ├── KeyRevoked      somebody has ended it
    │   ├── UserDisabled    an admin has shut the account
    │   └── GrantRefused    a password or a refresh token that is not right
    ├── Forbidden           a key without the needed scope      403
    │   └── EgressDenied        the sandbox's policy refuses it
    ├── NotFound            no such thing, or not yours         404
    │   ├── SandboxNotFound
    │   ├── CommandNotFound
    │   ├── ShellNotFound
    │   ├── TerminalNotFound
    │   ├── SnapshotNotFound
    │   ├── VolumeNotFound
    │   ├── KeyNotFound
    │   ├── UserNotFound
    │   ├── ImageNotFound
    │   ├── FileNotThere
    │   └── ModelNotFound   carries the names that exist
    ├── Gone                it was deleted                      410
    ├── Conflict            the wrong state for this call       409
    │   ├── Unsupported     this host or driver cannot do it
    │   ├── LimitInUse      more than that is in use now
    │   ├── FileConflict    it is of another kind, or exists
    │   └── EditMismatch    the text is not there as often as expected
    ├── Unavailable         not now; says when to come back     503
    │   ├── DriverUnavailable   this host cannot isolate
    │   ├── EngineUnavailable   the engine does not answer
    │   ├── IssuerUnavailable   who issued the token does not answer
    │   ├── SandboxFailed       the sandbox died
    │   ├── NoCapacity
    │   ├── AuditUnavailable    nothing can be recorded
    │   ├── DatabaseUnavailable it does not answer, or its disk is full
    │   └── HeldElsewhere       another process has it; it is in storage/servers.py
    ├── FileRefused         the sandbox's user may not          403
    ├── LimitReached        a limit of the sandbox is hit       507
    ├── QuotaReached        as many as you may have             429
    │   └── RateLimited     as many as you may in this time
    ├── UpstreamError       the engine answered with an error   its own status or 502
    │   ├── ContextTooLong      the prompt is longer than the model's context    400
    │   └── Unreachable         nothing answers at the other end
    └── ModelFailed         the model cannot be loaded          422
        └── DoesNotFit          this machine is too small for it

A message is a sentence that says what happened and what to do. It never holds a secret or a path of
the host. Surfaces map `kind` to their own wire, once, in `surfaces/errors.py`.
"""

from collections.abc import Sequence
from typing import ClassVar

from lm_sandbox.error_kinds import ErrorKind


class LmSandboxError(Exception):
    """The root of the tree; `code` is stable, the message is for people."""

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(LmSandboxError):
    """The input cannot be accepted; `field` is the dotted path of what is wrong."""

    kind = ErrorKind.INVALID
    code = "invalid_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(Invalid):
    """The input is over a size limit."""

    kind = ErrorKind.TOO_LARGE
    code = "too_large"


class NotHonoured(Invalid):
    """The input would change the result, and nothing here does what it asks for."""

    kind = ErrorKind.NOT_HONOURED
    code = "unsupported_parameter"


class Unauthenticated(LmSandboxError):
    """No key was given, or it matches none."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "unauthenticated"


class KeyExpired(Unauthenticated):
    """The key is right, and its time is over."""

    code = "key_expired"


class KeyRevoked(Unauthenticated):
    """The key was right until somebody revoked it."""

    code = "key_revoked"


class UserDisabled(Unauthenticated):
    """The user's account was disabled by an admin."""

    code = "user_disabled"


class GrantRefused(Unauthenticated):
    """A password, a refresh token or what goes with it is not right; which of it is not told."""

    code = "invalid_grant"


class Forbidden(LmSandboxError):
    """The key is good but lacks a scope."""

    kind = ErrorKind.FORBIDDEN
    code = "forbidden"


class EgressDenied(Forbidden):
    """The egress policy of the sandbox does not allow it."""

    code = "egress_denied"


class NotFound(LmSandboxError):
    """There is no such thing, or it belongs to someone else."""

    kind = ErrorKind.NOT_FOUND
    code = "not_found"


class SandboxNotFound(NotFound):
    """No sandbox of the caller has this id."""

    code = "sandbox_not_found"


class CommandNotFound(NotFound):
    """No command of this sandbox has this id."""

    code = "command_not_found"


class ShellNotFound(NotFound):
    """The sandbox has no shell of that id."""

    code = "shell_not_found"


class TerminalNotFound(NotFound):
    """No terminal of this sandbox has this id."""

    code = "terminal_not_found"


class SnapshotNotFound(NotFound):
    """No snapshot of the caller has this id."""

    code = "snapshot_not_found"


class VolumeNotFound(NotFound):
    """No volume of the caller has this id or name."""

    code = "volume_not_found"


class KeyNotFound(NotFound):
    """There is no API key of this id."""

    code = "key_not_found"


class UserNotFound(NotFound):
    """There is no user of this id."""

    code = "user_not_found"


class ImageNotFound(NotFound):
    """No imported image has this name."""

    code = "image_not_found"


class FileNotThere(NotFound):
    """The sandbox has nothing at this path."""

    code = "file_not_found"


class ModelNotFound(NotFound):
    """No engine serves a model of this name."""

    code = "model_not_found"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        listing = ", ".join(available) or "none"
        super().__init__(f"There is no model {name!r}. Available models: {listing}.")
        self.available = tuple(available)


class Gone(LmSandboxError):
    """It existed and was deleted."""

    kind = ErrorKind.GONE
    code = "gone"


class Conflict(LmSandboxError):
    """The thing is in a state that does not allow this."""

    kind = ErrorKind.CONFLICT
    code = "conflict"


class Unsupported(Conflict):
    """This host or this driver cannot do it, whatever the state."""

    code = "unsupported"


class LimitInUse(Conflict):
    """A limit cannot be put below what the sandbox uses now."""

    code = "limit_in_use"


class FileConflict(Conflict):
    """What is at the path is of another kind than this needs, or is there although it must not be."""

    code = "file_conflict"


class EditMismatch(Conflict):
    """The text to replace is not in the file as often as expected."""

    code = "edit_mismatch"


class FileRefused(LmSandboxError):
    """The sandbox's user has no right to do this."""

    kind = ErrorKind.FORBIDDEN
    code = "file_refused"


class LimitReached(LmSandboxError):
    """A limit of the sandbox does not allow more; `limit` is its name."""

    kind = ErrorKind.EXHAUSTED
    code = "limit_reached"

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class QuotaReached(LmSandboxError):
    """The caller has as many of something as it may; deleting one makes room.

    `retry_after_s` says when trying again makes sense, where that is known.
    """

    kind = ErrorKind.QUOTA
    code = "quota_reached"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(QuotaReached):
    """The caller has taken as much as it may in this time."""

    code = "rate_limited"


class Unavailable(LmSandboxError):
    """It cannot be done now; `retry_after_s` says when trying again makes sense."""

    kind = ErrorKind.UNAVAILABLE
    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DriverUnavailable(Unavailable):
    """This host cannot give the isolation that the driver promises."""

    code = "driver_unavailable"


class EngineUnavailable(Unavailable):
    """The engine behind a model does not answer."""

    code = "engine_unavailable"


class IssuerUnavailable(Unavailable):
    """The issuer of this token does not answer, so that the token cannot be checked."""

    code = "issuer_unavailable"


class SandboxFailed(Unavailable):
    """The sandbox is gone although nobody deleted it."""

    code = "sandbox_failed"


class NoCapacity(Unavailable):
    """A limit on how much runs at once is reached."""

    code = "no_capacity"


class AuditUnavailable(Unavailable):
    """What admins change must be recorded, and at present it cannot be."""

    code = "audit_unavailable"


class DatabaseUnavailable(Unavailable):
    """The database is gone, its disk is full, or it is too busy; it may be over in a moment."""

    code = "database_unavailable"


class UpstreamError(LmSandboxError):
    """The engine answered with an error; `status` and the message are its own."""

    kind = ErrorKind.UPSTREAM
    code = "upstream_error"

    def __init__(self, message: str, *, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class ContextTooLong(UpstreamError):
    """The prompt is longer than what the model can read; nothing is cut in silence."""

    code = "context_too_long"

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            # Agents look for these words to know that they have to shorten the conversation.
            f"The prompt is too long: {prompt_tokens} tokens > {context_tokens} maximum; "
            "shorten it, or give the model more (llamacpp.context_tokens).",
            status=400,
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class Unreachable(UpstreamError):
    """What was to be connected to does not answer, or not as it should."""

    code = "unreachable"


class ModelFailed(LmSandboxError):
    """The model's file cannot be loaded; trying again will not help."""

    kind = ErrorKind.INVALID
    code = "model_failed"


class DoesNotFit(ModelFailed):
    """This machine has not the memory for the model; the message has the numbers."""

    code = "does_not_fit"
