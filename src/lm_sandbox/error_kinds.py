"""What sorts of errors there are; each has its place on each wire."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """What sort of thing went wrong, independent of any wire."""

    INVALID = "invalid"
    TOO_LARGE = "too_large"
    NOT_HONOURED = "not_honoured"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    GONE = "gone"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    UPSTREAM = "upstream"
    EXHAUSTED = "exhausted"
    QUOTA = "quota"
