"""The verbs of `lm-sandbox sandbox`."""

import re
from functools import partial
from typing import Annotated, Any

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings

SANDBOXES = typer.Typer(help="Sandboxes of the server that runs here.", no_args_is_help=True)

# A name may have colons, a path may not here.
MOUNT = re.compile(r"(.+?):(/[^:]+)(:ro)?")
Cpus = Annotated[float | None, typer.Option(help="CPU time, in cores.")]
Cpuset = Annotated[str | None, typer.Option(help="The cores it may run on, such as 0-1,3.")]
Memory = Annotated[int | None, typer.Option("--memory-mib", help="Memory, in MiB.")]
Pids = Annotated[int | None, typer.Option(help="Processes and threads.")]
SandboxName = Annotated[str, typer.Argument(help="Its id or its name.")]


@SANDBOXES.command("list")
def list_sandboxes(as_json: AsJson = False) -> None:
    """List your sandboxes."""
    from lm_sandbox.cli.sandbox import list_sandboxes as show  # noqa: PLC0415 - each verb loads only its own

    finish(partial(show, load_settings(), as_json=as_json))


@SANDBOXES.command("create")
def create_sandbox(  # noqa: PLR0913, PLR0917 - each is an option
    name: Annotated[str | None, typer.Option(help="A name, unique among yours.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Start with the files of this snapshot.")] = None,
    image: Annotated[str | None, typer.Option(help="What it is made of, such as host.")] = None,
    cpus: Cpus = None,
    cpuset: Cpuset = None,
    memory_mib: Memory = None,
    pids: Pids = None,
    disk_mib: Annotated[int | None, typer.Option("--disk-mib", help="Writable bytes, in MiB.")] = None,
    gpus: Annotated[
        str | None, typer.Option(help="How many GPUs, or which: their UUIDs, separated by commas.")
    ] = None,
    mount: Annotated[
        list[str] | None, typer.Option(help="A volume and where, such as models:/data or models:/data:ro.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a sandbox and print its id."""
    from lm_sandbox.cli.sandbox import create_sandbox as create  # noqa: PLC0415

    limits = _given(cpus=cpus, cpuset=cpuset, memory_mib=memory_mib, pids=pids, disk_mib=disk_mib)
    body = _given(name=name, snapshot=snapshot, image=image, limits=limits or None, gpus=_gpus(gpus))
    body |= _given(mounts=[_mount(text) for text in mount or []] or None)
    finish(partial(create, load_settings(), body, as_json=as_json))


@SANDBOXES.command("show")
def show_sandbox(name: SandboxName, as_json: AsJson = False) -> None:
    """Show what holds a sandbox and what it uses."""
    from lm_sandbox.cli.sandbox import show_sandbox as show  # noqa: PLC0415

    finish(partial(show, load_settings(), name, as_json=as_json))


@SANDBOXES.command("limit")
def limit_sandbox(
    name: SandboxName,
    cpus: Cpus = None,
    cpuset: Cpuset = None,
    memory_mib: Memory = None,
    pids: Pids = None,
) -> None:
    """Change what a sandbox may use while it lives, and print what holds it."""
    from lm_sandbox.cli.sandbox import limit_sandbox as limit  # noqa: PLC0415

    limits = _given(cpus=cpus, cpuset=cpuset, memory_mib=memory_mib, pids=pids)
    finish(partial(limit, load_settings(), name, limits))


@SANDBOXES.command("pause")
def pause_sandbox(name: SandboxName) -> None:
    """Halt every process of a sandbox where it stands."""
    _act(name, "pause")


@SANDBOXES.command("resume")
def resume_sandbox(name: SandboxName) -> None:
    """Let a paused sandbox run again."""
    _act(name, "resume")


@SANDBOXES.command("stop")
def stop_sandbox(name: SandboxName) -> None:
    """End every process of a sandbox and keep its files."""
    _act(name, "stop")


@SANDBOXES.command("start")
def start_sandbox(name: SandboxName) -> None:
    """Let a stopped sandbox run again."""
    _act(name, "start")


@SANDBOXES.command("delete")
def delete_sandbox(names: Annotated[list[str], typer.Argument(help="Ids or names.")]) -> None:
    """Delete sandboxes with all that is in them."""
    from lm_sandbox.cli.sandbox import delete_sandbox as delete  # noqa: PLC0415

    finish(partial(delete, load_settings(), names))


@SANDBOXES.command("terminal", context_settings={"ignore_unknown_options": True})
def use_terminal(
    name: SandboxName,
    command: Annotated[list[str] | None, typer.Argument(help="Instead of a login shell.")] = None,
    terminal: Annotated[str | None, typer.Option("--id", help="Come back to this terminal.")] = None,
    view: Annotated[bool, typer.Option("--view", help="Only look; type nothing.")] = False,
) -> None:
    """Be in a sandbox as in this terminal; ctrl-] leaves, and the program goes on."""
    from lm_sandbox.cli.terminal import use_terminal as use  # noqa: PLC0415

    finish(partial(use, load_settings(), name, terminal, command or [], view=view))


def _act(name: str, action: str) -> None:
    from lm_sandbox.cli.sandbox import act  # noqa: PLC0415

    finish(partial(act, load_settings(), name, action))


def _given(**options: object) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _gpus(text: str | None) -> int | list[str] | None:
    return text if text is None else int(text) if text.isdecimal() else text.split(",")


def _mount(text: str) -> dict[str, Any]:
    """Reads VOLUME:/PATH, with `:ro` at the end for one that is only read."""
    found = MOUNT.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not VOLUME:/PATH or VOLUME:/PATH:ro.", param_hint="--mount")
    return {"volume": found[1], "path": found[2], "read_only": found[3] is not None}
