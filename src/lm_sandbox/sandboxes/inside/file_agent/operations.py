"""What is done at once, each a matter of a few system calls."""

import os
from typing import Any

from . import paths, walking

Request = dict[str, Any]
Answer = tuple[dict[str, Any], list[int]]


def look(request: Request) -> Answer:
    """Describes a path, a link as the link."""
    with paths.place(request["path"]) as (folder, name):
        return {"entry": paths.entry(request["path"], name=name, folder=folder)}, []


def list_folder(request: Request) -> Answer:
    """Lists one folder."""
    return walking.page(request), []


def open_file(request: Request) -> Answer:
    """Opens a file to be read."""
    fd = paths.open_regular(request["path"], os.O_RDONLY)
    return {"entry": paths.entry_of(fd, request["path"])}, [fd]


def append(request: Request) -> Answer:
    """Opens a file to be written to at its end, and makes it where there is none."""
    path = paths.settle(request["path"])
    paths.make_parents(path)
    with paths.place(path) as (folder, name):
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder))
            existed = False
        except FileExistsError:
            existed = True
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
        fd = paths.open_regular(name, flags, folder=folder)
    return {"existed": existed}, [fd]


def make_folder(request: Request) -> Answer:
    """Makes a folder and those above it."""
    paths.make_parents(request["path"])
    with paths.place(request["path"]) as (folder, name):
        os.mkdir(name, dir_fd=folder)
        if request["mode"] is not None:
            os.chmod(name, request["mode"], dir_fd=folder)
    return look(request)


def move(request: Request) -> Answer:
    """Renames within one file system."""
    with paths.place(request["path"]) as source, paths.place(request["to"]) as target:
        paths.rename(source, target, replace=request["overwrite"])
    return look({"path": request["to"]})


def change_mode(request: Request) -> Answer:
    """Changes who may do what with a file."""
    with paths.place(paths.settle(request["path"])) as (folder, name):
        os.chmod(name, request["mode"], dir_fd=folder)
    return look(request)


def delete(request: Request) -> Answer:
    """Removes a file, a link or an empty folder."""
    with paths.place(request["path"]) as (folder, name):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)
    return {}, []
