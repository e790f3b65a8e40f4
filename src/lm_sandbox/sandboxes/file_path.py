"""A path inside a sandbox, taken from a caller."""

from typing import NewType

from lm_sandbox.errors import Invalid

FilePath = NewType("FilePath", str)

MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255


def file_path(text: str, field: str = "path") -> FilePath:
    """Takes a path from a caller; `..` stays, and is resolved inside the sandbox.

    Raises:
        Invalid: it is relative, too long, or has bytes that no path has; `field` names it.
    """
    if not text.startswith("/"):
        raise Invalid(
            f"{field} must be an absolute path inside the sandbox, such as /workspace/a.", field=field
        )
    parts = [part for part in text.split("/") if part not in {"", "."}]
    try:
        encoded = [part.encode(errors="surrogateescape") for part in parts]
    except UnicodeEncodeError as error:
        raise Invalid(f"{field} has a character that no file name has.", field=field) from error
    if any(b"\0" in part for part in encoded):
        raise Invalid(f"{field} has a NUL character.", field=field)
    if any(len(part) > MAX_NAME_BYTES for part in encoded):
        raise Invalid(f"{field} has a name of over {MAX_NAME_BYTES} bytes.", field=field)
    if sum(len(part) + 1 for part in encoded) > MAX_PATH_BYTES:
        raise Invalid(f"{field} is over {MAX_PATH_BYTES} bytes.", field=field)
    return FilePath("/" + "/".join(parts))
