"""The URIs of files: `sandbox://ID/workspace/a.txt`."""

from urllib.parse import quote, unquote_to_bytes, urlsplit

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.file_path import FilePath, file_path

SCHEME = "sandbox"
TEMPLATE = f"{SCHEME}://{{sandbox}}/{{+path}}"


def uri_of(sandbox_id: str, path: str) -> str:
    """Names a file; bytes that are no UTF-8 stand percent-encoded like others."""
    return f"{SCHEME}://{sandbox_id}{quote(path, safe='/', errors='surrogateescape')}"


def read_uri(uri: str) -> tuple[str, FilePath]:
    """Reads the sandbox and the path.

    Raises:
        Invalid: it is none of ours.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise Invalid(f"{uri!r} is no URI.", field="uri") from error
    if parts.scheme != SCHEME or not parts.netloc or parts.query or parts.fragment:
        raise Invalid(f"{uri!r} is no URI of a file; those are {TEMPLATE}.", field="uri")
    path = unquote_to_bytes(parts.path).decode(errors="surrogateescape")
    return parts.netloc, file_path(path, "uri")
