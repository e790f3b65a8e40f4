"""Multipart forms with one file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from lm_sandbox.errors import Invalid

MOST_FIELDS = 16
FIELD_BYTES = 64 * 1024
LONGEST_NAME = 255


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Reads a form; what is large in it is on disk meanwhile."""
    form = request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    async with form as fields:
        yield fields


def file_of(form: FormData) -> UploadFile:
    """Returns the file of a form.

    Raises:
        Invalid: it has none.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Invalid("file: a file is needed, as multipart/form-data.", field="file")
    return file


def name_of(file: UploadFile) -> str:
    """Returns the name that a caller gave a file, without any folder.

    Raises:
        Invalid: no file can have this name.
    """
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    if not name or name in {".", ".."} or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise Invalid("file: its name cannot be that of a file.", field="file")
    return name
